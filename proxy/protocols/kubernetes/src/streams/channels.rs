//! Kubernetes' channels in a WebSocket: the first byte of a message says which.
//!
//! `v4.channel.k8s.io`, and `v5.channel.k8s.io`, which can also close one (KEP-4006). Of `exec` and `attach`: 0 standard
//! input, 1 output, 2 error, 3 the outcome, 4 the terminal's size, 255 "channel n is closed". Of `port-forward`: two
//! for each port, data and error.

use super::Role;
use proxy_audit::stream::Channel;

/// Says that a channel is closed; its payload is the channel's number.
pub(super) const CLOSE: u8 = 255;
/// The outcome.
pub(super) const OUTCOME: u8 = 3;

/// What the channels of a WebSocket are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channels {
    /// Of a program.
    Program,
    /// Of forwarded ports: how many.
    Ports(u8),
}

impl Channels {
    /// What comes from the client on a channel; `None`: nothing may.
    pub(super) fn of_client(self, channel: u8) -> Option<Role> {
        match (self, channel) {
            (Self::Program, 0) => Some(Role::Input),
            (Self::Program, 4) => Some(Role::Resize),
            (Self::Ports(ports), data) if data % 2 == 0 && data / 2 < ports => {
                Some(Role::Tunnel(Channel::tunnel(u32::from(data / 2))))
            }
            (Self::Program | Self::Ports(_), _) => None,
        }
    }

    /// What comes from the API server on a channel; `None`: nothing may.
    pub(super) fn of_server(self, channel: u8) -> Option<Role> {
        match (self, channel) {
            (Self::Program, 1) => Some(Role::Output(Channel::STDOUT)),
            (Self::Program, 2) => Some(Role::Output(Channel::STDERR)),
            (Self::Program, OUTCOME) => Some(Role::Error),
            (Self::Ports(ports), any) if any / 2 < ports => Some(match any % 2 {
                0 => Role::Tunnel(Channel::tunnel(u32::from(any / 2)).answering()),
                _ => Role::Output(Channel::failure(u32::from(any / 2))),
            }),
            (Self::Program | Self::Ports(_), _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_speaks_on_input_and_size_only() {
        let allowed: Vec<_> = (0..=255).filter(|n| Channels::Program.of_client(*n).is_some()).collect();
        assert_eq!(allowed, [0, 4]);
        let allowed: Vec<_> = (0..=255).filter(|n| Channels::Program.of_server(*n).is_some()).collect();
        assert_eq!(allowed, [1, 2, 3]);
    }

    #[test]
    fn each_port_has_two_channels() {
        let ports = Channels::Ports(2);
        assert_eq!(ports.of_client(2), Some(Role::Tunnel(Channel(6))));
        assert_eq!(ports.of_server(2), Some(Role::Tunnel(Channel(7))));
        assert_eq!(ports.of_server(3), Some(Role::Output(Channel((1 << 31) + 1))));
        assert_eq!(ports.of_client(3), None);
        assert_eq!(ports.of_client(4), None);
    }
}
