"""Which of Debian's fence agents prove that a host is off, and which of their options take that
proof away.

From each agent's source and `-o metadata` (fence-agents 4.12.1, fence-virt 4.12.1). An agent
proves it that cuts the whole host's power, or ends the virtual machine that is the host, and whose
`status` then asks the power anew. The storage hosts have disks of their own: cut off from a switch,
they write on.
"""

from __future__ import annotations

from storage_agent.configuration.section import nearest

# The management processor of one machine: its address says which.
_OF_ONE_MACHINE = """
    fence_alom fence_amt fence_drac fence_idrac fence_ilo fence_ilo2 fence_ilo3 fence_ilo3_ssh
    fence_ilo4 fence_ilo4_ssh fence_ilo5 fence_ilo5_ssh fence_ilo_mp fence_ilo_ssh fence_imm
    fence_ipmilan fence_ipmilanplus fence_redfish fence_rsa fence_rsb
"""
# Of many: the option `plug` (or its old name `port`) says which outlet, blade or virtual machine.
_OF_A_PLUG = """
    fence_aliyun fence_apc fence_apc_snmp fence_aws fence_azure_arm fence_bladecenter fence_cdu
    fence_cisco_ucs fence_cyberpower_ssh fence_drac5 fence_eaton_snmp fence_emerson fence_eps
    fence_gce fence_hds_cb fence_hpblade fence_ibm_powervs fence_ibm_vpc fence_ibmblade
    fence_ibmz fence_ilo_moonshot fence_intelmodular fence_ipdu fence_ironic fence_kubevirt
    fence_ldom fence_lindypdu fence_lpar fence_netio fence_openstack fence_powerman fence_pve
    fence_raritan fence_raritan_px3 fence_rhevm fence_skalar fence_tripplite_snmp fence_vbox
    fence_virsh fence_virt fence_vmware fence_vmware_rest fence_vmware_soap fence_vmware_vcloud
    fence_wti fence_xenapi fence_xvm
"""
OF_ONE_MACHINE = frozenset(_OF_ONE_MACHINE.split())
OF_A_PLUG = frozenset(_OF_A_PLUG.split())
_SHARED = "it cuts a host off from shared storage: a storage host writes on to its own disks"
_PORT = "it shuts a port of a switch: the host behind it writes on"
_COMPUTE = "it moves OpenStack's virtual machines away from a host, and cuts no power itself"
PROVES_NOTHING = {
    "fence_ack_manual": "it is a person's word, which a failover asks for by itself",
    "fence_brocade": _SHARED,
    "fence_cisco_mds": _SHARED,
    "fence_compute": _COMPUTE,
    "fence_crosslink": "it only looks at a network link, and cuts no power",
    "fence_docker": "it stops a container: the kernel below it, and its DRBD, go on",
    "fence_dummy": "it is for tests, and does nothing",
    "fence_ecloud": "its status exits with 0 whether the machine is on or off",
    "fence_evacuate": _COMPUTE,
    "fence_heuristics_ping": "it judges by ping, and cuts no power",
    "fence_ifmib": _PORT,
    "fence_kdump": "it only hears that a crashed kernel writes its dump, and cuts no power",
    "fence_mpath": _SHARED,
    "fence_ovh": "it has no status",
    "fence_rcd_serial": "it has neither off nor status",
    "fence_sanbox2": _SHARED,
    "fence_sbd": "it asks the host's own watchdog through a shared disk, and reports what it asked",
    "fence_scsi": _SHARED,
    "fence_zvmip": "it takes a machine that it does not find as off",
}
# Options that turn not knowing, or less than the power, into "off".
_TREACHEROUS = {
    "missing-as-off": "a machine that is not found would count as off",
    "network-fencing": "cut off from the network alone, the host writes on to its own disks",
    "action": "the coordinator says what is to be done",
    # An old name of it (fence-agents: fencing.py, all_opt).
    "option": "the coordinator says what is to be done",
}
_PLUG = ("plug", "port", "domain")


def proves_power(agent: str) -> str:
    """A rule of the settings: why this agent is refused; empty where it proves a host to be off."""
    if agent in OF_ONE_MACHINE | OF_A_PLUG:
        return ""
    why = PROVES_NOTHING.get(agent)
    if why is None:
        known = nearest(agent, OF_ONE_MACHINE | OF_A_PLUG)
        why = f"it is not known as one that cuts a host's power and reports it{known}"
    return f"{agent!r} cannot prove that a host is off: {why}"


def treacherous(name: str) -> str:
    """Why this option is refused; empty where it is not."""
    return _TREACHEROUS.get(name.replace("_", "-"), "")


def target_of(agent: str, options: dict[str, str]) -> tuple[str, ...]:
    """What these options have the agent turn off; empty where they do not say which machine."""
    named = {name.replace("_", "-"): value.strip('"') for name, value in options.items()}
    address = named.get("ip") or named.get("ipaddr") or ""
    plug = next((named[key] for key in _PLUG if named.get(key)), "")
    if agent in OF_ONE_MACHINE:
        # `port_as_ip`: the plug is the address (fence-agents: fencing.py, process_input).
        return (address or plug,) if address or plug else ()
    return (address, plug) if plug else ()
