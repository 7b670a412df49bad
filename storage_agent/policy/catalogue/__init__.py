"""What every code means, what is at risk while it stands, and what to do: `storage-agent explain`.

A test holds that each code that the program uses is in here.
"""

from __future__ import annotations

from storage_agent.policy.catalogue.agent import AGENT
from storage_agent.policy.catalogue.agreement import AGREEMENT
from storage_agent.policy.catalogue.array import ARRAY
from storage_agent.policy.catalogue.coordinator import COORDINATOR
from storage_agent.policy.catalogue.creation import CREATION
from storage_agent.policy.catalogue.doctor import DOCTOR
from storage_agent.policy.catalogue.guard import GUARD
from storage_agent.policy.catalogue.host import HOST
from storage_agent.policy.catalogue.kernel import KERNEL
from storage_agent.policy.catalogue.replica import REPLICA
from storage_agent.policy.catalogue.volume import VOLUME
from storage_agent.policy.explanation import Explanation

CATALOGUE: dict[str, Explanation] = {
    **AGENT,
    **AGREEMENT,
    **ARRAY,
    **COORDINATOR,
    **CREATION,
    **DOCTOR,
    **GUARD,
    **REPLICA,
    **VOLUME,
    **HOST,
    **KERNEL,
}
