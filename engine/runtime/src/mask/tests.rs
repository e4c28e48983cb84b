use super::*;
use proptest::prelude::*;

fn masker(secrets: &[&str]) -> Masker {
    Masker::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>())
}

fn streamed(masker: &Masker, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    for piece in pieces {
        stream.push(piece, &mut out);
    }
    stream.finish(&mut out);
    out
}

#[test]
fn a_secret_is_replaced_wherever_it_stands() {
    assert_eq!(masker(&["hunter2x"]).mask("a hunter2x b hunter2xhunter2x"), "a *** b ******");
}

#[test]
fn without_secrets_nothing_changes() {
    let masker = masker(&["", ""]);
    assert!(masker.is_empty());
    assert_eq!(masker.mask("text"), "text");
    assert_eq!(streamed(&masker, &[b"te", b"xt"]), b"text");
}

#[test]
fn the_longest_secret_wins() {
    assert_eq!(masker(&["secret", "secret-longer"]).mask("secret-longer secret-lon"), "*** ***-lon");
}

#[test]
fn overlapping_secrets_leave_no_rest() {
    assert_eq!(masker(&["abcdef", "defghi"]).mask("xabcdefghix"), "x***x");
    assert_eq!(masker(&["abab12abab"]).mask("abab12abab12abab"), "***");
}

#[test]
fn base64_is_masked_at_every_alignment() {
    let masker = masker(&["P@ss/w0rd?~"]);
    for text in ["UEBzcy93MHJkP34=", "UEBzcy93MHJkP34"] {
        assert_eq!(masker.mask(&format!("<{text}>")), "<***>");
    }
    // `u:`, `user` and `x` before it, `tail` after it: at most the characters shared with a neighbour are left.
    for text in ["dTpQQHNzL3cwcmQ/fg==", "dXNlclBAc3MvdzByZD9+", "eFBAc3MvdzByZD9+dGFpbA=="] {
        let masked = masker.mask(text);
        assert!(masked.contains("***"), "{text} -> {masked}");
        assert!(masked.len() <= 14, "{text} -> {masked}");
    }
    assert!(masker.mask("eFBAc3MvdzByZD9-dGFpbA==").contains("***"), "url alphabet");
}

#[test]
fn encoded_forms_are_masked() {
    let masker = masker(&["p w'd\"é/&\\1"]);
    for form in [
        "p%20w%27d%22%C3%A9%2F%26%5C1",
        "p%20w%27d%22%c3%a9%2f%26%5c1",
        "p+w%27d%22%C3%A9%2F%26%5C1",
        "p+w%27d%22%c3%a9%2f%26%5c1",
        "p%20w'd%22%C3%A9%2F%26%5C1",
        r#"p w'\''d"é/&\1"#,
        r#"p w'"'"'d"é/&\1"#,
        r#"p w'd\"é/&\\1"#,
        r#"p w'd\"\u00e9/&\\1"#,
        r#"p w'd\"\u00e9\/&\\1"#,
        r#"p w'd\"é/\u0026\\1"#,
        r#"p\ w\'d\"é/\&\\1"#,
    ] {
        assert_eq!(masker.mask(&format!("[{form}]")), "[***]", "{form}");
    }
}

#[test]
fn what_shlex_and_json_write_is_masked() {
    for secret in ["it's $5 \"now\"", "new\nline\tand `tick`", "plain-secret", "!bang!'q'"] {
        let masker = masker(&[secret]);
        let shell = shlex::try_quote(secret).expect("no NUL").into_owned();
        assert!(!masker.mask(&shell).contains(|c: char| c.is_alphanumeric()), "{shell}");
        let json = serde_json::Value::from(secret).to_string();
        assert_eq!(masker.mask(&json), "\"***\"");
        let both = serde_json::Value::from(shell).to_string();
        assert!(!masker.mask(&both).contains(|c: char| c.is_alphanumeric()), "{both}");
    }
}

#[test]
fn a_secret_of_several_lines_is_masked_whole_and_line_by_line() {
    let masker = masker(&["-----BEGIN-----\nMIIEvAIBADAN\n}\n"]);
    assert_eq!(masker.mask("x-----BEGIN-----\nMIIEvAIBADAN\n}\ny"), "x***y");
    assert_eq!(masker.mask("  MIIEvAIBADAN }"), "  *** }");
    assert_eq!(masker.mask("x-----BEGIN-----\r\nMIIEvAIBADAN\r\n}\r\ny"), "x***y");
}

#[test]
fn wrapped_base64_is_masked_line_by_line() {
    let secret = "correct horse battery staple, correct horse battery staple, correct!";
    for wrapped in [
        "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSwgY29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBs\nZSwgY29ycmVjdCE=",
        "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSwgY29ycmVjdCBob3JzZSBiYXR0\nZXJ5IHN0YXBsZSwgY29ycmVjdCE=",
    ] {
        let masked = masker(&[secret]).mask(wrapped);
        assert_eq!(masked, "***\n***");
    }
}

#[test]
fn only_what_may_be_a_beginning_is_held_back() {
    let masker = masker(&["hunter2x"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    stream.push(b"progress 42% ", &mut out);
    assert_eq!(out, b"progress 42% ");
    stream.push(b"hunt", &mut out);
    assert_eq!((out.len(), stream.held()), (13, 4));
    stream.push(b"ing", &mut out);
    assert_eq!(out, b"progress 42% hunting");
    assert_eq!(stream.held(), 0);
}

#[test]
fn an_endless_chain_of_overlaps_does_not_grow_memory() {
    let masker = masker(&["ababab"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    for _ in 0..10_000 {
        stream.push(b"ab", &mut out);
        assert!(stream.held() < 64);
    }
    stream.finish(&mut out);
    assert_eq!(out, b"***");
}

#[test]
fn debug_shows_no_secret() {
    let masker = masker(&["hunter2x"]);
    let mut stream = masker.stream();
    stream.push(b"hunter", &mut Vec::new());
    assert!(!format!("{masker:?}{stream:?}").contains("hunt"));
}

#[test]
fn bytes_that_are_no_text_pass() {
    assert_eq!(
        streamed(&masker(&["hunter2x"]), &[&[0xff, 0, b'h'], b"unter2x", &[0xfe]]),
        [0xff, 0, b'*', b'*', b'*', 0xfe]
    );
}

proptest! {
    #[test]
    fn cutting_a_stream_anywhere_changes_nothing(
        secrets in prop::collection::vec("[ab'\n]{1,5}", 1..4),
        text in "[abYWI'\\\\%\n]{0,60}",
        cuts in prop::collection::vec(0usize..60, 0..8),
    ) {
        let masker = Masker::new(&secrets);
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = streamed(&masker, &[bytes]);
        prop_assert_eq!(&streamed(&masker, &pieces), &whole);
        prop_assert_eq!(String::from_utf8(whole).expect("text"), masker.mask(&text));
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(String::from_utf8(streamed(&masker, &bytewise)).expect("text"), masker.mask(&text));
    }

    #[test]
    fn no_secret_survives(secret in "[!-~é ]{6,20}", before in "[a-z]{0,9}", after in "[a-z]{0,9}") {
        let masked = masker(&[&secret]).mask(&format!("{before}{secret}{after}"));
        prop_assert!(!masked.contains(&secret) || MASK.contains(&secret));
        prop_assert!(masked.contains(MASK));
    }
}
