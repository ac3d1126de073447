//! Acts of SSH that are no command line, as commands that policies judge.

use crate::paths;
use crate::place::Place;
use crate::session::is_locale;
use crate::sftp::Operation;
use proxy_policy::{Access, Command, Detail, Effects, Reading, Touch, destination};
use proxy_shell::analyze;
use std::sync::Arc;

/// Opening a session.
pub(crate) fn connect(place: &Place) -> Command {
    act(place, "CONNECT", touch("Connect", "host", &place.host, Access::Read))
}

/// Trading a token for a certificate of the key with this fingerprint.
pub(crate) fn certificate(place: &Place, fingerprint: &str) -> Command {
    let mut command = act(place, "certificate", touch("Connect", "certificate", fingerprint, Access::Read));
    Arc::make_mut(&mut command.reading).masked_text = format!("certificate {fingerprint}");
    command
}

/// A shell: `mode` is `LineDisciplined` or `RecordOnly`.
pub(crate) fn shell(place: &Place, mode: &str) -> Command {
    act(place, "shell", touch("Shell", "shell", mode, Access::Write))
}

/// A subsystem.
pub(crate) fn subsystem(place: &Place, name: &str) -> Command {
    act(place, "subsystem", touch("Subsystem", "subsystem", name, Access::Write))
}

/// One operation of the subsystem `sftp`.
pub(crate) fn operation(place: &Place, operation: &Operation) -> Command {
    let text = operation.text();
    let command = act(place, "sftp", touch("Subsystem", "subsystem", "sftp", Access::Write));
    Command {
        canonical: format!("sftp {text}"),
        text: text.as_str().into(),
        reading: Reading::new("sftp", text, Effects::Known(operation.touches.clone())).into(),
        ..command
    }
}

/// A variable for whatever runs next.
pub(crate) fn environment(place: &Place, name: &str, value: &str) -> Command {
    let mut command = act(place, "env", touch("Environment", "variable", name, Access::Write));
    command.text = format!("env {name}={value}").into();
    command
}

/// A connection from the host to somewhere, for the client (`ssh -L`, `-D`, `-W`).
pub(crate) fn forward_local(place: &Place, host: &str, port: u32) -> Command {
    act(place, "forward", touch("ForwardLocal", "destination", &endpoint(host, port), Access::Write))
}

/// A port that the host listens on for the client (`ssh -R`).
pub(crate) fn forward_remote(place: &Place, host: &str, port: u32) -> Command {
    act(place, "forward", touch("ForwardRemote", "destination", &endpoint(host, port), Access::Write))
}

/// A socket of the host's file system, in either direction.
pub(crate) fn forward_socket(place: &Place, path: &str) -> Command {
    act(place, "forward", touch("ForwardSocket", "destination", &paths::socket(path), Access::Write))
}

/// The client's agent, for whatever runs on the host.
pub(crate) fn forward_agent(place: &Place) -> Command {
    act(place, "forward", touch("ForwardAgent", "agent", "", Access::Write))
}

/// The client's display, for whatever runs on the host.
pub(crate) fn forward_x11(place: &Place) -> Command {
    act(place, "forward", touch("ForwardX11", "display", "", Access::Write))
}

/// That a command gets a terminal.
pub(crate) fn terminal(term: &str) -> Touch {
    touch("Terminal", "terminal", term, Access::Read)
}

/// The touches of a command, to add to.
pub(crate) fn touches(command: &mut Command) -> &mut Vec<Touch> {
    match &mut Arc::make_mut(&mut command.reading).effects {
        Effects::Known(touches) | Effects::Unknown { touches, .. } => touches,
    }
}

/// Variables for what the command starts are part of what it is, and shown with it: whoever approves it approves them.
pub(crate) fn goes_along(place: &Place, command: &mut Command, environment: &[(String, String)]) {
    let mut shown = Vec::new();
    for (name, value) in environment {
        command.binding.push((name.clone().into(), value.as_str().into()));
        if !is_locale(name, value) {
            command.canonical.push_str(&[" (", name, "=", value, ")"].concat());
            // as a command line that sets it, of which no value is shown that may be a secret
            let set = format!("{name}='{}'", value.replace('\'', "'\\''"));
            let text = &analyze(set.as_bytes(), &place.role, &place.host).reading.masked_text;
            shown.push(text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS).collect::<String>());
        }
    }
    if !shown.is_empty() {
        Arc::make_mut(&mut command.reading).beside = shown.join(" ");
    }
}

fn endpoint(host: &str, port: u32) -> String {
    let host = destination::host(host);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn touch(effect: &'static str, object: &'static str, name: &str, access: Access) -> Touch {
    Touch { effect, object, name: name.to_owned(), access, unbounded: false, detail: Detail::None }
}

fn act(place: &Place, operation: &str, touch: Touch) -> Command {
    let canonical = if touch.name.is_empty() {
        touch.effect.to_owned()
    } else {
        format!("{} {}", touch.effect, touch.name)
    };
    let text: String = canonical.chars().take(NAME_CHARACTERS).collect();
    let effects = if text.len() < canonical.len() {
        // the whole name is what rules are asked about, and the record shows its beginning: nobody can be sure of that
        let why = format!("its name is longer than {NAME_CHARACTERS} characters");
        Effects::Unknown { why, touches: vec![touch] }
    } else {
        Effects::Known(vec![touch])
    };
    Command {
        text: text.as_str().into(),
        canonical,
        role: place.role.as_str().into(),
        namespace: place.host.as_str().into(),
        binding: Vec::new(),
        reading: Reading::new(operation, text, effects).into(),
    }
}

/// Longest name of an object that is told whole, in characters: clients give them.
const NAME_CHARACTERS: usize = 1024;
/// So much of a variable is shown.
const SHOWN_CHARACTERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { role: "deploy".to_owned(), host: "web1".to_owned() }
    }

    fn name(command: &Command) -> &str {
        let (Effects::Known(touches) | Effects::Unknown { touches, .. }) = &command.reading.effects;
        &touches[0].name
    }

    #[test]
    fn a_socket_has_one_name_however_its_path_is_written() {
        for path in [
            "/var/run/docker.sock",
            "/var//run/./docker.sock",
            "/var/run/x/../docker.sock",
            "//var/run/docker.sock",
        ] {
            assert_eq!(name(&forward_socket(&place(), path)), "/var/run/docker.sock", "{path}");
        }
        // where the server that opens it has its directory, nobody knows
        assert_eq!(name(&forward_socket(&place(), "var/run/docker.sock")), "?/var/run/docker.sock");
        assert_eq!(name(&forward_socket(&place(), "~/docker.sock")), "?/~/docker.sock");
    }

    #[test]
    fn a_name_that_is_too_long_to_show_is_judged_whole_and_is_not_known() {
        let host = "x".repeat(1_100) + ".forbidden.example";
        let command = forward_local(&place(), &host, 22);
        assert!(matches!(command.reading.effects, Effects::Unknown { .. }));
        assert_eq!(name(&command), format!("{host}:22"));
        assert!(command.text.len() <= NAME_CHARACTERS && command.canonical.contains(&host));
    }
}
