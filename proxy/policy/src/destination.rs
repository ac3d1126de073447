//! Where a forwarding leads, by one name however it is written.
//!
//! Names are not resolved: what one stands for there, only the host knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a host makes of itself by these names and addresses.
const ITSELF: [&str; 5] = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]"];

/// A host as rules are asked about it: small letters, no dot at the end, and an address in its usual form, whatever
/// `inet_aton` takes for one (`127.1`, `0x7f000001`, `2130706433`); one of IPv4 as that, within IPv6 too.
pub fn host(text: &str) -> String {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let name = bare.trim_end_matches('.').to_lowercase();
    address(&name).map_or(name, |address| address.to_string())
}

/// The address that a name is, in any form.
pub fn address(name: &str) -> Option<IpAddr> {
    let name = name.split_ascii_whitespace().next().unwrap_or_default().trim_end_matches('.');
    if let Some(address) = inet_aton(name) {
        return Some(address.into());
    }
    let without_zone = name.split_once('%').map_or(name, |(address, _)| address);
    let address: Ipv6Addr = without_zone.parse().ok()?;
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

/// `host:port` of a rule in the same form. Where it has a `*`, only its letters change.
pub(crate) fn pattern(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((name, port)) if !name.contains('*') => {
            let host = host(name);
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        }
        _ => text.to_lowercase(),
    }
}

/// What else a host may make of this destination, if it is the host itself. Any of them leads to the same.
pub(crate) fn same(destination: &str) -> impl Iterator<Item = String> {
    let (name, port) = destination.rsplit_once(':').unwrap_or((destination, ""));
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let itself = match address(bare) {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => {
            matches!(bare, "" | "*" | "localhost.localdomain" | "localhost4" | "localhost6")
                || bare == "localhost"
                || bare.ends_with(".localhost")
                || matches!(bare, "ip6-localhost" | "ip6-loopback")
        }
    };
    ITSELF.into_iter().filter(move |_| itself).map(move |name| format!("{name}:{port}"))
}

/// One to four numbers, decimal, octal or hexadecimal, of which the last fills what is left. Source: `inet_aton(3)`.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let left = 4_u32.checked_sub(u32::try_from(first.len()).ok()?).filter(|left| *left > 0)?;
    if first.iter().any(|part| *part > 255) || *last >= 1 << (8 * left) {
        return None;
    }
    let high = first.iter().fold(0, |high, part| high << 8 | part);
    u32::try_from(high << (8 * left) | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let digits = |text: &str, radix| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { u64::from_str_radix(text, radix).ok() } else { None }
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(text) => digits(text, 16),
        None if text.len() > 1 && text.starts_with('0') => digits(text, 8),
        None => digits(text, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_name_however_it_is_written() {
        for (text, expected) in [
            ("LocalHost", "localhost"),
            ("localhost.", "localhost"),
            ("127.1", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0X7F.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::FFFF:7f00:1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("0", "0.0.0.0"),
            ("10.1.65535", "10.1.255.255"),
            ("127.0.0.1 x", "127.0.0.1"),
            ("DB.Internal", "db.internal"),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
        for name in ["10.256.0.1", "1.2.3.4.5", "4294967296", "0x", "08", "a.1", "1..2", "+1"] {
            assert_eq!(host(name), name, "it is no address");
        }
    }

    #[test]
    fn a_host_has_all_names_of_itself() {
        for name in
            ["localhost:22", "127.0.0.1:22", "127.0.0.2:22", "0.0.0.0:22", "[::]:22", "[::1]:22", ":22"]
        {
            assert!(same(name).any(|same| same == "127.0.0.1:22"), "{name}");
            assert!(same(name).any(|same| same == "localhost:22"), "{name}");
        }
        assert_eq!(same("db.internal:22").count() + same("10.0.0.1:22").count(), 0);
    }

    #[test]
    fn a_pattern_has_the_same_form() {
        assert_eq!(pattern("LOCALHOST:*"), "localhost:*");
        assert_eq!(pattern("[::FFFF:10.0.0.1]:22"), "10.0.0.1:22");
        assert_eq!(pattern("[0:0::1]:22"), "[::1]:22");
        assert_eq!(pattern("*.Internal:22"), "*.internal:22");
    }
}
