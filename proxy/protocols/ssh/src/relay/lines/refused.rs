//! Lines that are not run whatever policies say of them.

use crate::refusals::refusal;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::{Command, Effects};

/// Whether the shell would read on and run nothing, so that nobody could tell when a line has ended.
pub(super) fn stops(command: &Command) -> bool {
    let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &command.reading.effects;
    let programs = touches.iter().filter_map(|touch| touch.detail.program());
    let mut options = programs
        .filter(|program| program.word == "set")
        .flat_map(|program| program.args.iter().take_while(|arg| !matches!(arg.as_str(), "-" | "--")));
    options.any(|arg| arg == "noexec" || arg.strip_prefix('-').is_some_and(|letters| letters.contains('n')))
}

pub(super) fn runs_nothing() -> Refusal {
    let message = "`set -n` has the shell run nothing any more, not even `exit`; it is not run";
    refusal(RefusalKind::Protocol, message, "check a script with `bash -n FILE`")
}

pub(super) fn too_long() -> Refusal {
    refusal(
        RefusalKind::TooLarge,
        "a command of the script is longer than 64 KiB, or has too many lines; it is not run, nor what follows it",
        "put what it does into a file, and run that",
    )
}

pub(super) fn unfinished() -> Refusal {
    let message = "the script ends in the middle of a command, which is not run";
    refusal(RefusalKind::Protocol, message, "end what it begins: quotes, here-documents, `if`, `{`")
}
