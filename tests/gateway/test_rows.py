"""The table of hostile inputs, row by row: which tests hold it. Where none of them goes through the
installed gateway under a real sshd, the row says why."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache

import pytest

from tests.gateway.host import ROOT

G, H, C, K = (
    "tests/gateway",
    "tests/unit/host",
    "tests/unit/configuration",
    "tests/unit/coordinator",
)
# Nothing of a request reaches these: it has no path, no device, no option and no tool's output.
LOCAL = "what root keeps on the host: no request carries any of it (row 8 holds that)"


@dataclass(frozen=True)
class Row:
    """tests: `module::function`.  not_by_ssh: why no test of it goes through sshd."""

    what: str
    tests: tuple[str, ...]
    not_by_ssh: str = ""


ROWS = {
    1: Row(
        "a command with shell signs, newline, NUL, 128 KiB",
        (
            f"{G}/test_sshd.py::test_a_command_is_logged_and_changes_nothing",
            f"{G}/test_sshd.py::test_a_command_that_no_process_can_be_given_reaches_none",
            f"{G}/test_over_ssh.py::test_a_command_with_a_nul_byte_runs_nothing",
            f"{G}/test_over_ssh.py::test_a_nul_byte_at_the_end_of_a_command_changes_nothing",
        ),
    ),
    2: Row(
        "options as a command",
        (
            f"{G}/test_sshd.py::test_a_command_is_logged_and_changes_nothing",
            f"{G}/test_sshd.py::test_the_role_is_the_keys_whatever_the_command",
        ),
    ),
    3: Row(
        "shell, terminal, sftp, scp",
        (
            f"{G}/test_sshd.py::test_there_is_no_terminal",
            f"{G}/test_sshd.py::test_sftp_and_scp_get_nothing",
            f"{G}/test_sshd.py::test_a_line_without_a_command_gives_no_shell",
        ),
    ),
    4: Row(
        "forwarding of ports, sockets, agent, display, tunnel",
        (
            f"{G}/test_sshd.py::test_nothing_is_forwarded",
            f"{G}/test_sshd.py::test_a_forwarded_port_leads_nowhere",
            f"{G}/test_sshd.py::test_the_agent_and_the_display_are_not_forwarded",
            f"{G}/test_sshd.py::test_no_tunnel_is_made",
        ),
    ),
    5: Row("environment", (f"{G}/test_sshd.py::test_the_environment_changes_nothing",)),
    6: Row("names that are commands", (f"{G}/test_frames.py::test_names_that_are_none",)),
    7: Row("names that look alike", (f"{G}/test_frames.py::test_names_that_are_none",)),
    8: Row("devices and paths in a request", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    9: Row(
        "a mount point replaced by a link, with a writable parent, mounted over",
        (
            f"{H}/filesystem/test_adapter.py::test_mount_point_unsafe",
            f"{H}/filesystem/test_adapter.py::test_mount_point_occupied",
            f"{H}/filesystem/test_adapter.py::test_make_mount_point_creates_nothing_below_a_link",
        ),
        LOCAL,
    ),
    11: Row("export options", (f"{C}/test_mistakes.py::test_refused_with_the_line",), LOCAL),
    12: Row(
        "nothing, or blanks alone",
        (f"{G}/test_frames.py::test_a_session_without_a_request_says_so",),
    ),
    13: Row(
        "64 MiB, and no end",
        (
            f"{G}/test_frames.py::test_a_frame_without_end_is_cut_and_ends_the_session",
            f"{G}/test_frames.py::test_memory_does_not_grow_with_what_is_sent",
        ),
    ),
    14: Row(
        "a byte now and then",
        (
            f"{G}/test_over_ssh.py::test_half_a_request_holds_nothing",
            f"{G}/test_process.py::test_a_request_that_does_not_end_is_given_up",
        ),
    ),
    15: Row("bytes that are no UTF-8", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    16: Row("depth", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    17: Row("a key twice", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    18: Row("numbers that are none", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    20: Row(
        "control characters",
        (
            f"{G}/test_frames.py::test_one_refusal_for_each",
            f"{G}/test_audit.py::test_a_callers_text_stays_in_its_line",
        ),
    ),
    21: Row(
        "unknown and missing words",
        (
            f"{G}/test_frames.py::test_one_refusal_for_each",
            f"{G}/test_roles.py::test_every_method_in_every_role",
        ),
    ),
    22: Row("what is not one JSON document", (f"{G}/test_frames.py::test_one_refusal_for_each",)),
    23: Row(
        "an old, a repeated, a faraway epoch",
        (f"{G}/test_roles.py::test_an_old_a_repeated_and_a_faraway_epoch",),
    ),
    24: Row(
        "a captured promote",
        (
            f"{G}/test_roles.py::test_an_old_a_repeated_and_a_faraway_epoch",
            f"{G}/test_incidents.py::test_a_captured_answer_is_none_for_the_next_incident",
        ),
    ),
    25: Row(
        "a request for another host",
        (
            f"{G}/test_over_ssh.py::test_a_request_names_no_other_host",
            f"{G}/test_coordinator.py::test_another_host_is_asked_for_nothing_but_its_name",
        ),
    ),
    26: Row(
        "more than the role allows",
        (
            f"{G}/test_roles.py::test_every_method_in_every_role",
            f"{G}/test_roles.py::test_a_session_cannot_take_another_role",
        ),
    ),
    28: Row(
        "200 sessions, and a flood at the door",
        (
            f"{G}/test_process.py::test_one_keys_flood_leaves_room_for_the_others",
            f"{G}/test_limits.py::test_who_does_not_log_in_keeps_nobody_out_for_good",
        ),
    ),
    29: Row(
        "two promotions at once",
        (f"{G}/test_over_ssh.py::test_of_two_promotions_at_once_one_is_told_who_is_busy",),
    ),
    30: Row(
        "broken off at every byte",
        (
            f"{G}/test_over_ssh.py::test_a_request_that_is_closed_at_any_byte_does_nothing",
            f"{G}/test_over_ssh.py::test_a_request_that_is_half_closed_at_any_byte_is_none",
            f"{G}/test_over_ssh.py::test_a_connection_that_is_reset_in_a_request_does_nothing",
            f"{G}/test_over_ssh.py::test_an_answer_that_is_broken_off_at_any_byte_harms_nobody",
            f"{G}/test_over_ssh.py::test_an_operation_goes_on_however_its_session_ends",
        ),
    ),
    31: Row(
        "a caller who never reads",
        (
            f"{G}/test_over_ssh.py::test_who_never_reads_is_dropped_and_others_are_served",
            f"{G}/test_session.py::test_a_subscriber_that_stops_reading_holds_up_nobody",
        ),
    ),
    32: Row(
        "signals to the gateway, and to the daemon in each step",
        (
            f"{G}/test_over_ssh.py::test_a_signal_to_the_gateway_ends_no_operation",
            f"{G}/test_limits.py::"
            "test_a_daemon_that_is_stopped_in_a_promote_finishes_it_after_its_start",
            f"{G}/test_limits.py::"
            "test_a_daemon_that_is_stopped_in_a_demote_finishes_it_after_its_start",
        ),
    ),
    33: Row(
        "stdin and stdout that are no pipes, or closed",
        (
            f"{G}/test_process.py::test_what_is_no_pipe_is_refused",
            f"{G}/test_process.py::test_a_folder_is_no_stdin",
            f"{G}/test_process.py::test_descriptors_that_are_closed_are_not_taken_for_others",
        ),
        "the installed gateway, but without sshd: sshd gives it pipes and nothing else",
    ),
    34: Row(
        "tools that say too much, never end, or nonsense",
        (
            f"{H}/system/test_runner.py::test_an_output_that_had_to_be_cut_is_not_taken_for_the_whole",
            f"{H}/system/test_runner.py::test_what_is_not_utf_8_is_replaced",
            f"{H}/system/test_runner.py::test_nothing_of_it_is_left_after_the_deadline",
            f"{H}/md/test_parse.py::test_an_unknown_word_of_a_superblock",
        ),
        LOCAL,
    ),
    36: Row(
        "a configuration that others may write, or that is too large",
        (
            f"{C}/test_files.py::test_files_that_others_may_write",
            f"{C}/test_files.py::test_files_that_are_none",
            f"{C}/test_files.py::test_a_file_that_is_too_large",
        ),
        LOCAL,
    ),
    37: Row(
        "names and addresses of hosts with shell signs",
        (
            f"{K}/test_settings.py::test_a_mistake_is_named",
            f"{C}/test_mistakes.py::test_host_names",
        ),
        "refused in the coordinator's configuration, before any connection; no ssh is started",
    ),
    38: Row(
        "a changed or unknown host key, a second kind of key",
        (
            f"{G}/test_host_keys.py::test_a_changed_key_is_refused_although_other_keys_would_do",
            f"{G}/test_host_keys.py::test_an_unknown_host_is_not_even_called",
            f"{G}/test_host_keys.py::test_a_key_of_another_kind_does_not_stand_in",
        ),
    ),
    39: Row(
        "a forged answer to a frozen primary",
        (
            f"{G}/test_incidents.py::"
            "test_a_forged_answer_leaves_it_frozen_and_the_true_one_is_heard",
        ),
    ),
    41: Row(
        "another user of the host",
        (
            f"{G}/test_roles.py::test_other_users_of_the_host_reach_nothing",
            f"{G}/test_roles.py::test_the_gateways_user_can_change_nothing_of_the_agent",
            f"{G}/test_roles.py::test_a_role_that_its_key_does_not_have_is_not_believed",
        ),
    ),
    42: Row(
        "names in /run and /tmp that somebody made before",
        (
            f"{G}/test_roles.py::test_the_gateways_user_can_change_nothing_of_the_agent",
            "tests/unit/service/test_daemon.py::"
            "test_the_listener_replaces_a_left_over_one_and_is_not_for_everybody",
        ),
    ),
    43: Row(
        "texts that forge log lines, and floods of them",
        (
            f"{G}/test_audit.py::test_a_callers_text_stays_in_its_line",
            f"{G}/test_audit.py::test_a_flood_hides_no_change",
        ),
    ),
    44: Row(
        "refusals that tell what is there",
        (f"{G}/test_roles.py::test_a_refusal_tells_nothing_of_what_is_there",),
    ),
    45: Row(
        "a conffile that was kept, state of a newer version",
        (
            f"{G}/test_upgrades.py::test_a_drop_in_that_allows_everything_opens_nothing",
            f"{G}/test_upgrades.py::test_a_drop_in_with_another_command_gives_no_shell",
            f"{G}/test_upgrades.py::test_state_of_a_newer_version_is_refused_and_kept",
        ),
    ),
    46: Row(
        "a key that is revoked, demoted or damaged while its session is open",
        (
            f"{G}/test_rights.py::test_an_open_session_loses_its_rights_at_the_next_request",
            f"{G}/test_rights.py::test_a_subscription_ends_soon_after_its_key",
            f"{G}/test_rights.py::test_an_unchanged_file_is_not_read_for_each_request",
        ),
    ),
    47: Row(
        "a file of keys that others may write, or that is none",
        (f"{G}/test_rights.py::test_a_file_that_cannot_be_gone_by_gives_nobody_rights",),
    ),
    48: Row(
        "another user's lock on whatever it can open",
        (
            f"{G}/test_rights.py::test_another_users_locks_keep_nobody",
            f"{G}/test_rights.py::test_who_holds_the_lock_is_named",
        ),
    ),
    49: Row(
        "what a key, its comment or its addresses write into the file",
        (
            f"{G}/test_rights.py::test_an_address_that_sshd_would_not_match_is_not_written",
            f"{G}/test_rights.py::test_what_is_written_is_read_by_openssh",
            f"{G}/test_rights.py::test_no_key_is_taken_that_openssh_does_not_take",
            f"{G}/test_rights.py::test_a_damaged_line_is_told_and_removed",
        ),
    ),
    50: Row(
        "two keys that observe, with all the sessions that they can get",
        (f"{G}/test_shares.py::test_two_observers_with_all_their_sessions_shut_nobody_out",),
    ),
    51: Row(
        "a coordinator with 1 + 8 sessions on one connection, and a second one",
        (f"{G}/test_shares.py::test_one_connection_has_room_for_a_coordinator",),
    ),
    52: Row(
        "floods of requests, answers unread, half frames, sessions that come and go",
        (f"{G}/test_shares.py::test_a_flood_slows_nobody_beyond_a_bound",),
    ),
}


@cache
def functions(module: str) -> frozenset[str]:
    """The tests of a module, by its text."""
    tree = ast.parse((ROOT / module).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_no_row_is_left_out() -> None:
    """These numbers were never given: 10, 19, 27, 35, 40."""
    assert set(ROWS) == set(range(1, 53)) - {10, 19, 27, 35, 40}


@pytest.mark.parametrize("number", ROWS)
def test_a_row_is_held_by_tests_that_are_there(number: int) -> None:
    assert ROWS[number].tests
    for test in ROWS[number].tests:
        module, _, function = test.partition("::")
        assert function in functions(module), test


@pytest.mark.parametrize("number", ROWS)
def test_a_row_without_a_test_through_the_gateway_says_why(number: int) -> None:
    row = ROWS[number]
    # test_process.py starts the gateway itself, without sshd.
    through = [
        test
        for test in row.tests
        if test.startswith(f"{G}/") and not test.startswith(f"{G}/test_process.py")
    ]
    assert bool(through) != bool(row.not_by_ssh)
