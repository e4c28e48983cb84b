use super::*;
use proptest::prelude::*;
use serde_json::json;

fn secrets(value: &str) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.insert("pw", value);
    secrets
}

#[test]
fn a_marker_becomes_its_secret_and_nothing_else_changes() {
    let text = format!("a {} b {}", marker("pw"), marker("pw"));
    assert_eq!(unseal_text(&text, &secrets("s3cret")).as_deref(), Ok("a s3cret b s3cret"));
    assert_eq!(unseal_text("plain", &secrets("s3cret")).as_deref(), Ok("plain"));
}

#[test]
fn values_are_unsealed_at_every_depth() {
    let value = json!({"a": [marker("pw"), 1, {"b": format!("x{}", marker("pw"))}], "c": null});
    assert!(is_sealed(&value));
    assert_eq!(names(&value), BTreeSet::from(["pw".to_owned()]));
    assert_eq!(unseal(&value, &secrets("s3cret")), Ok(json!({"a": ["s3cret", 1, {"b": "xs3cret"}], "c": null})));
    assert_eq!(display_value(&value), json!({"a": ["{{secrets.pw}}", 1, {"b": "x{{secrets.pw}}"}], "c": null}));
}

#[test]
fn an_unknown_secret_is_named() {
    let fault = unseal_text(&marker("0/other"), &secrets("s3cret")).expect_err("unknown");
    assert_eq!(fault.message, "secret `0/other` is not known to this run");
}

#[test]
fn a_name_may_hold_anything() {
    for name in ["0/admin_password", "a|b", "a\u{f5ed}b", "ü \"\\'", "100%", "%41"] {
        let mut secrets = Secrets::default();
        secrets.insert(name, "value!");
        assert_eq!(unseal_text(&marker(name), &secrets).as_deref(), Ok("value!"), "{name}");
        assert_eq!(display(&marker(name)), format!("{{{{secrets.{name}}}}}"));
        assert_eq!(names(&Value::from(marker(name))), BTreeSet::from([name.to_owned()]));
    }
}

#[test]
fn what_looks_like_a_marker_from_outside_is_none_after_cleaning() {
    let outside = json!({marker("pw"): [format!("x{}", marker("pw"))]});
    let cleaned = clean_value(outside);
    assert!(!is_sealed(&cleaned));
    assert_eq!(cleaned, json!({"\u{fffd}secret:pw\u{fffd}": ["x\u{fffd}secret:pw\u{fffd}"]}));
    assert_eq!(clean("plain ï text"), "plain ï text");
}

#[test]
fn debug_shows_names_only() {
    assert_eq!(format!("{:?}", secrets("s3cret")), "{\"pw\"}");
}

#[test]
fn filters_apply_when_the_secret_is_known() {
    let hard = "a'b\"c\\d $e\nf#";
    let text = format!("pre '{}' post", marker("pw"));
    let quoted = unseal_text(&sh(&text).expect("no NUL"), &secrets(hard)).expect("known");
    assert_eq!(shlex::split(&quoted), Some(vec![format!("pre '{hard}' post")]));
    let json = unseal_text(&json(&json!({"k": [text]})), &secrets(hard)).expect("known");
    assert_eq!(serde_json::from_str::<Value>(&json).expect("json"), json!({"k": [format!("pre '{hard}' post")]}));
    let option = unseal_text(&option_file(&marker("pw")).expect("no NUL"), &secrets(hard)).expect("known");
    assert_eq!(option, r##""a'b\"c\\d $e\nf#""##);
}

#[test]
fn filters_chain_in_the_order_of_their_application() {
    let both = sh(&json(&Value::from(marker("pw")))).expect("no NUL");
    let done = unseal_text(&both, &secrets("it's \"x\"")).expect("known");
    assert_eq!(shlex::split(&done), Some(vec![r#""it's \"x\"""#.to_owned()]));
}

#[test]
fn a_nul_is_refused_where_it_cannot_stand() {
    for sealed in [sh(&marker("pw")), option_file(&marker("pw"))] {
        let fault = unseal_text(&sealed.expect("the marker has none"), &secrets("a\0b")).expect_err("NUL");
        assert!(fault.message.contains("holds a NUL"), "{}", fault.message);
    }
    assert_eq!((sh("a\0"), option_file("a\0")), (None, None));
}

proptest! {
    #[test]
    fn any_text_goes_through(text in "[\u{f5ec}\u{f5ed}secrt:pw|js%4 \u{fffd}é]{0,40}") {
        let _ = (display(&text), names(&Value::from(text.as_str())), unseal_text(&text, &secrets("s3cret")));
        prop_assert!(!is_sealed_text(&clean(&text)));
        prop_assert_eq!(unseal_text(&clean(&text), &secrets("s3cret")), Ok(clean(&text).into_owned()));
    }

    #[test]
    fn quoting_before_and_after_unsealing_agree(before in "\\PC{0,8}", secret in "[^\0]{1,12}", after in "\\PC{0,8}") {
        let (before, after) = (clean(&before), clean(&after));
        let sealed = format!("{before}{}{after}", marker("pw"));
        let plain = format!("{before}{secret}{after}");
        let word = unseal_text(&sh(&sealed).expect("no NUL"), &secrets(&secret)).expect("known");
        prop_assert_eq!(shlex::split(&word), Some(vec![plain.clone()]));
        let text = unseal_text(&json(&Value::from(sealed.as_str())), &secrets(&secret)).expect("known");
        prop_assert_eq!(serde_json::from_str::<Value>(&text).expect("json"), Value::from(plain.as_str()));
        prop_assert_eq!(unseal_text(&option_file(&sealed).expect("no NUL"), &secrets(&secret)).expect("known"), option_file(&plain).expect("no NUL"));
    }
}
