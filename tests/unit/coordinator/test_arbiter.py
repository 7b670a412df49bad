"""Who may write alone: each rule, and each way to break it."""

from __future__ import annotations

import dataclasses

from storage_agent.coordinator.deciding import arbiter, claims
from storage_agent.coordinator.deciding.arbiter import Decision, GrantKind, Incident, Mark, State
from storage_agent.coordinator.deciding.claims import Shown

SEEN: dict[str, int | None] = {"alpha": 7, "beta": 7}
START = State(epoch=7, owner="alpha", coordinator="ours")
OURS = {"alpha": "ours", "beta": "ours"}
STRANGERS = {"alpha": "theirs", "beta": ""}


def incident(host: str = "alpha", nonce: str = "n1", epoch: int = 7) -> Incident:
    return Incident(host=host, incident=nonce, boot_id="boot-1", epoch=epoch)


def code(decision: Decision) -> str:
    assert decision.grant is None
    assert decision.deny_epoch is None
    assert decision.refusal is not None
    return decision.refusal.code


def test_the_frozen_primary_goes_on_and_nobody_else() -> None:
    first = arbiter.decide_incident(START, incident())
    assert first.grant is not None
    assert (first.grant.kind, first.grant.epoch) == (GrantKind.CONTINUE, 8)
    assert first.state.sole == "alpha"
    other = arbiter.decide_promotion(first.state, "beta", "op", SEEN)
    assert code(other) == "PEER_HAS_GRANT"
    assert other.state == first.state


def test_after_a_promotion_the_old_primary_is_denied() -> None:
    taken = arbiter.decide_promotion(START, "beta", "op", SEEN)
    assert taken.grant is not None
    assert (taken.grant.host, taken.grant.epoch, taken.grant.source) == ("beta", 8, "alpha")
    late = arbiter.decide_incident(taken.state, incident())
    assert late.deny_epoch == 8
    assert late.grant is None
    assert late.state == taken.state
    # It has seen 8 by now: another loss is denied under an epoch of its own.
    again = arbiter.decide_incident(late.state, incident(nonce="n2", epoch=8))
    assert again.deny_epoch == 9
    assert again.state.sole == "beta"


def test_the_same_question_gets_the_same_grant() -> None:
    first = arbiter.decide_incident(START, incident())
    assert arbiter.decide_incident(first.state, incident()) == Decision(
        state=first.state, grant=first.grant
    )
    taken = arbiter.decide_promotion(START, "beta", "op", SEEN)
    again = arbiter.decide_promotion(taken.state, "beta", "another-op", SEEN)
    assert again.grant == taken.grant
    assert again.state == taken.state


def test_another_loss_of_the_same_host_gets_another_epoch() -> None:
    first = arbiter.decide_incident(START, incident())
    second = arbiter.decide_incident(first.state, incident(nonce="n2", epoch=8))
    assert second.grant is not None
    assert second.grant.epoch == 9


def test_an_agent_that_knows_more_stops_every_grant() -> None:
    ahead: dict[str, int | None] = {"alpha": 8, "beta": None}
    assert code(arbiter.decide_promotion(START, "beta", "op", ahead)) == "EPOCH_AHEAD"
    assert code(arbiter.decide_move(START, "alpha", "beta", "op", ahead)) == "EPOCH_AHEAD"
    assert code(arbiter.decide_incident(START, incident(epoch=8))) == "EPOCH_AHEAD"


def test_sole_ends_only_by_a_look_after_an_answer_after_the_grant() -> None:
    granted = arbiter.decide_incident(START, incident()).state

    def look(state: State, taken_s: float, now_s: float, **more: str) -> State:
        return arbiter.seen_in_sync(
            state,
            more.get("host", "alpha"),
            more.get("boot_id", "boot-1"),
            taken_s=taken_s,
            now_s=now_s,
            is_in_sync=True,
        )

    # The first answer may carry a look from before the grant: it only sets the mark.
    marked = look(granted, 90.0, 100.0)
    assert marked.sole == "alpha"
    assert marked.mark == Mark(boot_id="boot-1", at_s=100.0)
    assert look(marked, 100.0, 130.0) == marked
    assert look(marked, 101.0, 130.0, host="beta") == marked
    freed = look(marked, 101.0, 130.0)
    assert (freed.sole, freed.mark) == (None, None)
    # Another boot has another clock.
    rebooted = look(marked, 500.0, 501.0, boot_id="boot-2")
    assert rebooted.sole == "alpha"
    assert look(rebooted, 502.0, 503.0, boot_id="boot-2").sole is None


def test_a_grant_forgets_the_mark() -> None:
    granted = arbiter.decide_incident(START, incident()).state
    marked = dataclasses.replace(granted, mark=Mark(boot_id="boot-1", at_s=1.0))
    again = arbiter.decide_incident(marked, incident(nonce="n2", epoch=8)).state
    assert again.mark is None


def test_a_copy_that_is_not_in_sync_keeps_its_peer_out() -> None:
    granted = arbiter.decide_incident(START, incident()).state
    marked = dataclasses.replace(granted, mark=Mark(boot_id="boot-1", at_s=1.0))
    after = arbiter.seen_in_sync(
        marked, "alpha", "boot-1", taken_s=5.0, now_s=6.0, is_in_sync=False
    )
    assert after.sole == "alpha"


def test_what_is_withdrawn_leaves_the_volume_as_it_was() -> None:
    taken = arbiter.decide_promotion(START, "beta", "op", SEEN).state
    back = arbiter.withdrawn(taken, 9)
    assert (back.sole, back.owner, back.epoch) == (None, "alpha", 9)
    assert back.grant is not None
    assert back.grant.is_done
    again = arbiter.decide_incident(back, incident(epoch=7))
    assert again.grant is not None
    assert again.grant.epoch == 10


def test_a_done_promotion_is_not_given_out_again() -> None:
    taken = arbiter.decide_promotion(START, "beta", "op", SEEN).state
    done = arbiter.finished(taken, owner="beta", unix_s=5)
    again = arbiter.decide_promotion(done, "beta", "op-2", {"beta": 8})
    assert again.grant is not None
    assert (again.grant.epoch, again.grant.operation_id) == (9, "op-2")


def test_a_continue_that_was_withdrawn_leaves_it_as_before() -> None:
    told = arbiter.decide_incident(START, incident()).state
    back = arbiter.withdrawn(told, 9)
    assert (back.sole, back.owner, back.epoch) == (None, "alpha", 9)
    assert code(arbiter.decide_incident(back, incident(epoch=9))) == "CONTINUE_WITHDRAWN"
    again = arbiter.decide_incident(back, incident(nonce="n2", epoch=9))
    assert again.grant is not None
    assert (again.grant.host, again.grant.epoch) == ("alpha", 10)
    assert arbiter.decide_promotion(back, "beta", "op", SEEN).grant is not None


def test_who_wrote_alone_before_a_grant_still_did_after_its_withdrawal() -> None:
    alone = arbiter.finished(
        arbiter.decide_incident(START, incident()).state, owner="alpha", unix_s=5
    )
    more = arbiter.decide_incident(alone, incident(nonce="n2", epoch=8)).state
    assert arbiter.withdrawn(more, 10).sole == "alpha"
    taken = arbiter.decide_promotion(alone, "alpha", "op", SEEN).state
    assert arbiter.withdrawn(taken, 10).sole == "alpha"


def test_a_move_makes_nobody_sole_and_wants_nobody_sole() -> None:
    moved = arbiter.decide_move(START, "alpha", "beta", "op", SEEN)
    assert moved.grant is not None
    assert moved.state.sole is None
    assert moved.state.owner == "alpha"
    alone = arbiter.decide_incident(START, incident()).state
    assert code(arbiter.decide_move(alone, "alpha", "beta", "op", SEEN)) == "PEER_HAS_GRANT"


def test_a_claim_goes_above_every_agent() -> None:
    claimed = claims.decide_claim(None, "op", {"alpha": 41, "beta": None}, STRANGERS)
    assert (claimed.state.epoch, claimed.state.coordinator) == (42, "op")
    below: dict[str, int | None] = {"alpha": 3, "beta": 3}
    assert claims.decide_claim(START, "op", below, STRANGERS).state.epoch == 8


def test_until_both_have_accepted_a_claim_nothing_is_granted() -> None:
    claimed = claims.decide_claim(START, "op", SEEN, OURS).state
    for decision in (
        arbiter.decide_incident(claimed, incident(epoch=8)),
        arbiter.decide_promotion(claimed, "beta", "op-2", SEEN),
        arbiter.decide_move(claimed, "alpha", "beta", "op-2", SEEN),
    ):
        assert code(decision) == "ADOPTION_UNFINISHED"
    done = claims.adopted(claimed, None, "alpha", 5)
    assert arbiter.decide_incident(done, incident(epoch=8)).grant is not None


def test_a_record_goes_on_only_where_both_hosts_have_heard_nobody_else() -> None:
    def succeeds(state: State | None, **changes: str) -> str:
        grant = claims.decide_claim(state, "op", SEEN, OURS | changes).state.grant
        assert grant is not None
        return grant.source

    assert succeeds(START) == "ours"
    assert succeeds(START, beta="theirs") == ""
    assert succeeds(START, beta="") == ""
    assert succeeds(None) == ""
    assert succeeds(dataclasses.replace(START, epoch=6)) == ""
    unknown = dataclasses.replace(START, coordinator="")
    assert succeeds(unknown, alpha="", beta="") == ""


def test_a_claim_that_was_broken_off_goes_on_from_any_claim_of_the_record() -> None:
    def succeeds(state: State, alpha: tuple[str, int | None], beta: tuple[str, int | None]) -> bool:
        epochs = {"alpha": alpha[1], "beta": beta[1]}
        heard = {"alpha": alpha[0], "beta": beta[0]}
        return claims.goes_on(claims.decide_claim(state, "op", epochs, heard).state)

    before, first = ("ours", 7), ("one", 8)
    begun = claims.decide_claim(START, "one", SEEN, OURS).state
    again = claims.decide_claim(begun, "two", SEEN, OURS).state
    assert [claimed.coordinator for claimed in again.former] == ["ours", "one"]
    for state in (begun, again):
        assert succeeds(state, before, first)
        assert succeeds(state, first, first)
        assert succeeds(state, ("ours", 3), before)
        # Told under our old name what we have not given under it, by an admin for one.
        assert not succeeds(state, ("ours", 8), before)
        assert not succeeds(state, ("one", 9), first)
        assert not succeeds(state, ("theirs", 8), first)
        assert not succeeds(state, ("", 7), before)
        assert not succeeds(state, ("ours", None), before)
    assert succeeds(again, ("two", 9), before)
    assert claims.adopted(again, None, "alpha", 5).former == ()
    # Where one host's ear was enough, the other one still listens to an earlier claim.
    alone = claims.adopted(again, None, "beta", 5, by_both=False)
    assert succeeds(alone, before, ("two", 9))
    # Taken from somebody else, a half of it proves nothing.
    taken = claims.decide_claim(None, "op", SEEN, STRANGERS).state
    assert not succeeds(taken, ("op", 8), ("op", 8))


def test_an_adoption_is_no_change_of_hands_where_the_owner_stays() -> None:
    begun = claims.decide_claim(
        dataclasses.replace(START, owner="alpha", changed_unix_s=3), "one", SEEN, OURS
    ).state
    assert claims.adopted(begun, None, "alpha", 9).changed_unix_s == 3
    assert claims.adopted(begun, None, "beta", 9).changed_unix_s == 9


def test_a_host_that_has_not_accepted_the_newest_claim_is_not_another_ones() -> None:
    begun = claims.decide_claim(START, "one", SEEN, OURS).state

    def said(theirs: str) -> str:
        found = arbiter.coordinator_refusal(begun, {"alpha": theirs})
        assert found is not None
        return found.code

    assert (said("ours"), said("theirs"), said("")) == (
        "ADOPTION_UNFINISHED",
        "OTHER_COORDINATOR",
        "OTHER_COORDINATOR",
    )
    assert arbiter.coordinator_refusal(begun, {"alpha": "one"}) is None


def test_who_may_have_written_alone_is_shown_or_unclear() -> None:
    def shown(alpha: str, beta: str) -> tuple[bool, str | None]:
        return claims.shown_sole(
            {
                host: Shown(is_in_sync="sync" in text, is_writing="writes" in text)
                for host, text in (("alpha", alpha), ("beta", beta))
            }
        )

    assert shown("sync, writes", "sync") == (True, None)
    assert shown("writes", "") == shown("writes", "sync") == (True, "alpha")
    assert shown("", "writes") == (True, "beta")
    assert shown("", "") == shown("sync", "") == (False, None)
    assert shown("writes", "writes") == (False, None)


def test_an_agent_that_listens_to_another_one_is_named() -> None:
    assert arbiter.coordinator_refusal(START, OURS) is None
    other = arbiter.coordinator_refusal(START, OURS | {"beta": "theirs"})
    nobody = arbiter.coordinator_refusal(START, OURS | {"beta": ""})
    assert other is not None
    assert nobody is not None
    assert (other.code, other.measured) == ("OTHER_COORDINATOR", "beta: theirs")
    assert (nobody.code, nobody.measured) == ("OTHER_COORDINATOR", "beta: none")


def test_without_a_person_only_once_and_not_too_soon() -> None:
    def refusal(state: State, unix_s: int = 10_000, **more: bool) -> str:
        found = arbiter.automatic_refusal(
            state, automatic=more.get("automatic", True), cooldown_s=3600, unix_s=unix_s
        )
        return found.code if found else ""

    assert refusal(START) == ""
    assert refusal(START, automatic=False) == "AUTOMATIC_OFF"
    assert refusal(dataclasses.replace(START, automatic_used=True)) == "AUTOMATIC_USED"
    changed = dataclasses.replace(START, changed_unix_s=8_000)
    assert refusal(changed) == "COOLDOWN"
    assert refusal(changed, unix_s=11_600) == ""
    # The clock went back.
    assert refusal(changed, unix_s=100) == "COOLDOWN"


def test_a_promotion_on_its_way_outlives_a_resync() -> None:
    """Found by the small model: granted while connected, it arrived after the link broke."""
    taken = arbiter.decide_promotion(START, "beta", "op", SEEN).state

    def look(state: State, taken_s: float) -> State:
        return arbiter.seen_in_sync(
            state, "beta", "boot-1", taken_s=taken_s, now_s=taken_s + 1, is_in_sync=True
        )

    still = look(look(taken, 1.0), 10.0)
    assert still.sole == "beta"
    done = arbiter.finished(still, owner="beta", unix_s=0)
    # And what was seen before its end proves nothing either: a look that was asked for under an
    # earlier revision is not taken at all (Coordinator.note_sync).
    assert done.revision > still.revision
    assert done.mark is None
    assert look(look(done, 20.0), 30.0).sole is None
