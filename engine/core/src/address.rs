//! Addresses of steps and items: `step`, `step/KEY`, `group/inner`, `group/KEY/inner`.
//! Unaware of which exist. Writing and reading are each other's inverse for every key.

/// Percent-encodes what would break an address: `/`, `%`, blanks and control characters.
#[must_use]
pub fn encode(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for c in key.chars() {
        if c == '/' || c == '%' || c.is_whitespace() || c.is_control() {
            let mut buffer = [0_u8; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Undoes [`encode`]; none where a `%` is not followed by two hexadecimal digits or the bytes are not UTF-8.
#[must_use]
pub fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::prelude::*;

    #[test]
    fn blanks_slashes_and_percents_are_encoded() {
        assert_eq!(encode("a b/c%\t"), "a%20b%2Fc%25%09");
        assert_eq!(encode("ünïcode"), "ünïcode");
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for broken in ["%", "%4", "%zz", "%FF"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in any::<String>()) {
            prop_assert_eq!(decode(&encode(&key)), Some(key));
        }
    }
}
