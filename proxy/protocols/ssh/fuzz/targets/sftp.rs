//! Streams of sftp, cut anywhere: what passes is what came, in order, and nothing passes that was not asked about.
//!
//! Input: a byte that says how both directions are cut, then pieces: direction, length, bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_ssh::sftp::{Item, Sftp};

fuzz_target!(|data: &[u8]| {
    let Some((step, mut rest)) = data.split_first() else { return };
    let step = usize::from(*step).max(1);
    let tells = step % 3 == 0;
    let mut sftp = if tells { Sftp::new().telling_contents() } else { Sftp::new() };
    let (mut came, mut went) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut changed = false;
    while let [head, tail @ ..] = rest {
        let (server, length) = (head & 1 == 1, usize::from(head >> 1).min(tail.len()));
        let (bytes, after) = tail.split_at(length);
        rest = after;
        for piece in bytes.chunks(step) {
            let mut items = Vec::new();
            came[usize::from(server)].extend_from_slice(piece);
            let done = if server { sftp.server(piece, &mut items) } else { sftp.client(piece, &mut items) };
            for item in items {
                match item {
                    Item::Pass(bytes) => went[usize::from(server)].extend(bytes),
                    Item::Ask { operation, packet } => {
                        assert!(!operation.touches.is_empty());
                        if step % 2 == 0 {
                            changed = true;
                            assert!(sftp.refuse(&operation, "no").len() > 20);
                        } else {
                            went[usize::from(server)].extend(packet);
                        }
                    }
                    Item::Answer(_) => changed = true,
                    Item::Answered { opening, .. } => assert!(opening > 0),
                    Item::Content(_) => assert!(tells, "nobody asked for it"),
                    Item::Closed(transfer) => assert!(transfer.opening > 0),
                }
            }
            if done.is_err() {
                return;
            }
        }
    }
    for (came, went) in came.iter().zip(&went) {
        assert!(changed || came.starts_with(went), "other bytes than came");
    }
    sftp.finish();
});
