"""Every rule of DRBD 8.4 that the simulator models, and where the kernel has it.

Each that is `shown` is shown by a course (tests/data/drbd-courses) which the simulator and two
kernels of the lab go through with the same outcome. What cannot be brought about from outside says
why. How the simulator orders what happens at once is no rule of DRBD's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """why: it is not shown."""

    text: str
    why: str = ""

    @property
    def is_shown(self) -> bool:
        return not self.why


def _rules(function: str, **texts: str) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule(f"{text} [{function}]") for name, text in texts.items()}


ROLES = (
    _rules(
        "drbd_state.c is_valid_state()",
        two_primaries_refused="a promotion is refused (-1) while the peer is Primary",
        held_open="a device that is open is not demoted (-12)",
        needs_good_data="no promotion (-2) without access to UpToDate data",
        inconsistent_may_serve="a sync target may be Primary while its source is connected",
        two_primaries_on_connect="two Primaries that meet part again",
    )
    | _rules(
        "drbd_nl.c drbd_set_role()",
        role_told="the peer is asked first, and shows the new role",
        promotion_asks="alone, a promotion asks the fence-peer handler",
        promotion_asks_four_times="and again after each answer that settles nothing, four times",
        promotion_alone_renews="a promotion alone, or beside a diskless peer, starts a generation",
        no_renewal_twice="but none where bits are collected against an older one already",
        promotion_of_outdated_peer="nobody is asked where the peer is known to be Outdated",
    )
    | _rules(
        "drbd_receiver.c conn_connect()",
        no_connection_while_promoting="none is made while a promotion waits for its handler",
    )
)

FENCING = (
    _rules(
        "drbd_state.c sanitize_state()",
        freeze_on_loss="a Primary that loses its peer freezes (resource-and-stonith)",
        resource_only_goes_on="it does not with resource-only",
        no_freeze_without_disk="nor without a disk: the policy is the disk's",
    )
    | _rules(
        "drbd_nl.c conn_try_outdate_peer()",
        handler_asked_on_loss="a Primary that loses its peer calls the fence-peer handler",
        handler_3="exit 3: the peer is Inconsistent",
        handler_4="exit 4: the peer is Outdated",
        handler_5="exit 5: the peer is Outdated, if the own disk is UpToDate",
        handler_5_of_consistent="exit 5 settles nothing for a disk that is Consistent only",
        handler_6_on_primary="exit 6 changes nothing on a Primary",
        handler_6_on_secondary="exit 6 makes a Secondary's disk Outdated",
        handler_7="exit 7: the peer is Outdated",
        handler_1="another exit status settles nothing",
        late_word="an answer that comes after the connection counts for nothing",
        not_even_consistent="without a disk nobody is asked, and what is frozen fails",
    )
    | _rules(
        "drbd_state.c w_after_conn_state_ch()",
        thaw_beside_diskless="a peer that comes back thaws a frozen Primary, also without a disk",
        thaw_when_outdated="once the peer counts as Outdated the Primary thaws",
        thaw_renews="and starts the generation that it had put off",
        thaw_without_disk_crashes="without a disk the kernel crashes there: frozen for good",
    )
    | _rules(
        "drbd_state.c after_state_ch()",
        thaw_by_peer="a peer that is back thaws it, without a new generation",
        frozen_meets_diskless="also one without a disk, which starts a generation",
    )
    | _rules(
        "drbd_receiver.c receive_state()",
        thaw_beside_restarted="a peer that is Consistent only, of the same generation: go on alone",
    )
)

LINK = (
    _rules(
        "drbd_receiver.c conn_disconnect()",
        peer_unknown="with the connection goes what was known of role and disk",
        both_lose_it="packets lost in one direction end it on both sides",
    )
    | _rules(
        "drbd_state.c sanitize_state()",
        peer_disk_kept="an Inconsistent or Outdated peer stays known as such",
        vanish_when_connected="Consistent and Outdated give way to UpToDate in a connection",
    )
    | _rules(
        "drbd_state.c after_state_ch()",
        loss_renews="a Primary that loses its peer's disk starts a generation",
    )
    | _rules(
        "drbd_receiver.c receive_Barrier()",
        confirmed_before_flush="an epoch is confirmed once it is written, and only then flushed",
    )
    | _rules(
        "drbd_nl.c conn_try_disconnect()",
        disconnect_outdates="a Secondary is Outdated by an orderly disconnect from a Primary",
        disconnect_of_secondaries="two Secondaries part without a mark",
        disconnect_when_cut="nobody is told over a cut link",
        down_disconnects="down disconnects in order first",
        part_from_diskless="a Primary that parts from a diskless peer calls it Outdated",
        diskless_parts="a disk that cannot become Outdated parts unasked: the Primary freezes",
        target_parts="nor can a sync target's: the Primary goes on, for it knows it as worse",
        no_parting_without_data="a diskless Primary does not part (-2), nor lets its peer (-10)",
    )
    | _rules(
        "drbd_nl.c drbd_adm_down()",
        down_demotes="down demotes first, in vain while the device is open (-12)",
    )
)

DISK = (
    _rules(
        "drbd_nl.c drbd_adm_attach()",
        attach_consistent="alone, a disk that was UpToDate is Consistent",
        attach_outdated="one that was Outdated is Outdated",
        attach_inconsistent="one that was Inconsistent is Inconsistent",
        attach_beside_outdated="beside a peer known as Outdated it is UpToDate",
        attach_crashed="one that was Primary, or the disk of one, is a crashed Primary's",
        attach_applies_log="and what its activity log names is out of sync",
        attach_lost_last="a Primary without a good peer takes only what it had last (150)",
        attach_while_connected="in a connection it is Negotiating until the handshake",
        attach_outdates_nobody="a re-attached disk is told to the peer and resynced",
    )
    | _rules(
        "drbd_state.c sanitize_state()",
        negotiating_lost="a connection lost meanwhile: Diskless, if a generation was missed",
    )
    | _rules(
        "drbd_receiver.c receive_state()",
        negotiating_refused="a disk of another history waits for good: nobody answers it",
        negotiating_beside_failure="the peer's disk fails meanwhile: taken as it is",
    )
    | _rules(
        "drbd_state.c after_state_ch()",
        disk_loss_told="a disk that is lost is told to the peer",
        crashed_until_in_sync="a crashed Primary is one until both are UpToDate",
        crashed_mark_lingers="on the disk, until something changes again",
        diskless_promotion_renews="the only disk starts a generation for a diskless Primary",
    )
    | _rules(
        "drbd_state.c _drbd_set_state()",
        marks="metadata says: consistent, was UpToDate, Primary, peer Outdated, crashed",
        primary_by_proxy="the only disk of a diskless Primary is marked as a Primary's",
    )
    | _rules(
        "drbd_req.c __req_mod()",
        io_error_detaches="a disk that fails a write is detached; the peer's write counts",
        no_disk_at_all="without any disk a write fails",
    )
)

HANDSHAKE = (
    _rules(
        "drbd_receiver.c drbd_uuid_compare()",
        rule_40="one generation, no crash: nothing to sync",
        rule_41_crashed="no Primary: who crashed as one is the source",
        rule_41_both="both crashed: the two sides agree on one",
        rule_34="one generation, bits at the source only: it has missed the end of the resync",
        rule_50="mine is the other's base: I am the target",
        rule_70="the other's is my base: I am the source",
        rule_60="mine is in the other's history: target of a full sync",
        rule_80="the other's is in my history: source of a full sync",
        rule_90="one base, two generations: split brain",
        rule_100_unrelated="nothing in common: unrelated data",
        two_of_history="two identifiers of history are kept",
    )
    | _rules(
        "drbd_receiver.c drbd_sync_handshake()",
        split_brain_parts="after a split brain both are StandAlone",
        rr_conflict="a Primary does not become a target: StandAlone",
        inconsistent_is_target="an Inconsistent disk is the target, whatever its generation",
    )
    | _rules(
        "drbd_receiver.c receive_uuids()",
        diskless_primary_needs_its_data="it refuses a peer with another generation than it used",
        new_generation_heard="a diskless Primary hears of its peer's new generation",
    )
)

RESYNC = (
    _rules(
        "drbd_receiver.c receive_bitmap()",
        bitmaps_joined="what either has marked is synced",
    )
    | _rules(
        "drbd_worker.c drbd_resync_finished()",
        resync_identifiers="source and target then agree on all identifiers",
        end_agreed="neither ends it before the other has answered a ping",
        sync_identifier="the base gets a name of its own when a resync begins",
    )
    | _rules(
        "drbd_state.c sanitize_state()",
        states_of_resync="the target is Inconsistent, the source UpToDate",
        resync_ends_with_disk="a resync ends when either disk is lost",
        aborted_in_bitmap_exchange="the target is UpToDate if the source's is lost before it began",
    )
    | _rules(
        "drbd_receiver.c drbd_disconnected()",
        bits_kept="a resync that is cut off goes on with the next connection",
        target_forgets="a target's own bits are in its memory: after a crash the source has them",
        end_missed="a source that has missed the end takes up its diskless life with the target",
    )
)

WRITES = _rules(
    "drbd_req.c drbd_process_write_request()",
    on_both="a write is done when both copies have it",
    frozen_write_waits="one that is given to a frozen device waits for the thaw",
    frozen_write_goes_on="and is done once the Primary may go on alone",
    sent_again="or is sent again when the peer is back (tl_restart RESEND)",
    alone_is_marked="one that only one copy has is out of sync there",
    pending_is_marked="also where the peer was lost with the write under way",
    only_disk_marks="the only disk marks what a diskless Primary writes (receive_Data())",
    none_while_attaching="none begins while a disk is Negotiating (drbd_state_is_stable())",
    written_in_bitmap_exchange="one during the bitmap exchange is told as out of sync",
    on_inconsistent_only="a Primary on an Inconsistent disk alone gives errors",
)

NOT_SHOWN = {
    "rule-41-primary": Rule(
        "one generation, a crash: who is Primary is the source [drbd_uuid_compare()]",
        "every promotion that can be ordered here starts a generation, or ends the crash",
    ),
    "rule-60-lost-identifier": Rule(
        "a target that never got the new base's name: all is synced; the kernel takes it back "
        "(rules 51, 71) and syncs less [drbd_uuid_compare()]",
        "two messages would have to be held at one moment; the copies end up the same",
    ),
    "changes-collide": Rule(
        "both ask the other at once: one is refused [drbd_req_state()]",
        "two commands cannot be given at one moment",
    ),
    "disconnect-is-awaited": Rule(
        "who has asked to part waits for the other to close [drbd_recv()]",
        "the moment is as short as one message",
    ),
    "promotion-repeated": Rule(
        "a promotion refused by a Primary is tried again for a while [drbd_set_role()]",
        "only how it ends is compared: two-primaries-refused",
    ),
    "to-the-target": Rule(
        "a sync target gets the writes as well [drbd_process_write_request()]",
        "the kernel makes a write wait for a resync nearby; on a small disk all is near",
    ),
    "unconfirmed-is-out-of-sync": Rule(
        "a write that both have, in an epoch not confirmed, is out of sync [conn_disconnect()]",
        "acknowledgement and confirmation come together (confirmed-before-flush)",
    ),
    "page-order": Rule(
        "writes to one block do not overtake each other [page lock]",
        "courses write every block once",
    ),
    "target-writes-on-top": Rule(
        "a target's own write lands on top of what the resync brings [drbd_al_begin_io()]",
        "the order of two writes of one moment is not seen from outside",
    ),
    "resync-reads-after-writes": Rule(
        "a resync reads a block after the writes under way there [drbd_rs_begin_io()]",
        "the order of two writes of one moment is not seen from outside",
    ),
    "written-while-attaching": Rule(
        "a write begun without a disk that came meanwhile is out of sync [drbd_req_destroy()]",
        "only a frozen one can be: its disk has to go and come before the peer does",
    ),
    "disk-waits-for-writes": Rule(
        "a disk comes or goes by command once what is under way has ended [drbd_suspend_io()]",
        "what a command waits for is not seen from outside; courses pull the disk out",
    ),
}

RULES: dict[str, Rule] = ROLES | FENCING | LINK | DISK | HANDSHAKE | RESYNC | WRITES | NOT_SHOWN
