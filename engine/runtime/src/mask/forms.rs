//! The forms in which a secret may turn up in an output: as it is, line by line, and as common tools encode it.
//! Unaware of searching.

use std::collections::BTreeSet;

/// A line of a secret with several lines is hidden alone if it is at least so long; `}` alone would hide half a log.
const LINE: usize = 6;
/// A form made by an encoding is looked for if it is at least so long.
const ENCODED: usize = 6;

/// All forms of a secret; none of an empty one.
pub(super) fn of(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    whole(secret, &mut forms);
    if secret.contains('\n') {
        whole(&secret.replace("\r\n", "\n").replace('\n', "\r\n"), &mut forms);
        whole(secret.trim_end_matches(['\r', '\n']), &mut forms);
        for line in secret.lines().map(|line| line.trim_end_matches('\r')).filter(|line| line.chars().count() >= LINE) {
            whole(line, &mut forms);
            whole(line.trim(), &mut forms);
        }
    }
    forms.remove("");
    forms
}

fn whole(text: &str, forms: &mut BTreeSet<String>) {
    if text.is_empty() {
        return;
    }
    forms.insert(text.to_owned());
    base64_forms(text.as_bytes(), forms);
    for safe in URL_SAFE {
        for upper in [true, false] {
            for plus in [true, false] {
                forms.insert(url(text, safe, upper, plus));
            }
        }
    }
    let shell = shell_forms(text);
    // A command line is often written into a JSON log: quoted for the shell, then escaped.
    for form in shell.iter().map(String::as_str).chain([text]) {
        forms.extend(json_forms(form));
    }
    forms.extend(shell);
}

/// What encoders leave alone besides letters and digits: RFC 3986, HTML forms, `encodeURIComponent`, path encoders.
const URL_SAFE: [&str; 4] = ["-_.~", "-_.*", "-_.~!'()*", "-_.~/"];

fn url(text: &str, safe: &str, upper: bool, plus: bool) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else if byte == b' ' && plus {
            out.push('+');
        } else if upper {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

/// The insides of quotes, as shells, `printf %q`, `set -x` and SQL clients write them.
fn shell_forms(text: &str) -> Vec<String> {
    let mut forms = vec![
        text.replace('\'', r"'\''"),
        text.replace('\'', "'\"'\"'"),
        text.replace('\'', r"\'"),
        text.replace('\'', "''"),
        escape(text, "\\\"$`"),
        escape(text, "\\\"$`!"),
        escape(text, "\\\""),
        escape(text, "\\'"),
        escape(text, "\\"),
        escape(text, " \t!\"#$&'()*;<>?[\\]^`{|}~,"),
        escape(text, " \t!\"#$&'()*;<>?[\\]^`{|},"),
        escape(text, "\\'").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r"),
    ];
    if let Ok(quoted) = shlex::try_quote(text) {
        forms.push(quoted.into_owned());
    }
    forms
}

fn escape(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if special.contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

/// The insides of JSON texts: plain, with everything beyond ASCII escaped, safe for HTML, with `\/`.
fn json_forms(text: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(text).to_string();
    let plain = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned();
    let html = plain.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026");
    let upper = plain.replace('<', r"\u003C").replace('>', r"\u003E").replace('&', r"\u0026");
    vec![ascii(&plain), ascii(&html), plain.replace('/', r"\/"), ascii(&plain.replace('/', r"\/")), plain, html, upper]
}

fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii() {
            out.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The secret inside a longer encoded text begins at any of three alignments; the characters that depend on its
/// neighbours are left out there. At the end of the encoded text the last character and the padding belong to it too.
fn base64_forms(bytes: &[u8], forms: &mut BTreeSet<String>) {
    for alphabet in [STANDARD, URL] {
        for (lead, skip) in [(0, 0), (1, 2), (2, 3)] {
            let mut padded = vec![0; lead];
            padded.extend_from_slice(bytes);
            let encoded = base64(&padded, alphabet);
            let inner: String = encoded.chars().take(padded.len() * 8 / 6).skip(skip).collect();
            if inner.len() < ENCODED {
                continue;
            }
            let ended: String = encoded.chars().skip(skip).collect();
            let padding = "=".repeat((3 - padded.len() % 3) % 3);
            // `base64` and `openssl` break lines here.
            for width in [76, 64] {
                if lead == 0 && inner.len() > width {
                    let lines = format!("{ended}{padding}");
                    let long = lines.as_bytes().chunks(width).filter(|line| line.len() >= ENCODED);
                    forms.extend(long.map(|line| String::from_utf8_lossy(line).into_owned()));
                }
            }
            forms.insert(format!("{ended}{padding}"));
            // Padding may itself be encoded for a URL.
            forms.insert(format!("{ended}{}", padding.replace('=', "%3D")));
            forms.insert(ended);
            forms.insert(inner);
        }
    }
}

/// Base64 without padding.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 2);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..=group.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            out.push(alphabet.get(index as usize).copied().map_or('A', char::from));
        }
    }
    out
}
