use super::*;
use crate::plan::seal::Secrets;
use proptest::prelude::*;
use serde_json::json;

/// Answers from one map.
struct World(Value);

impl Scope for World {
    fn get(&self, path: &[String]) -> Option<Value> {
        path.iter().try_fold(&self.0, |value, part| value.get(part)).cloned()
    }
}

/// Answers only for whole paths, as a driver does that keeps outputs apart.
struct Exact(Vec<(&'static str, Value)>);

impl Scope for Exact {
    fn get(&self, path: &[String]) -> Option<Value> {
        self.0.iter().find(|(known, _)| *known == path.join(".")).map(|(_, value)| value.clone())
    }
}

fn world() -> World {
    World(json!({
        "params": {"dir": "/mnt/d", "n": 3, "zero": 0, "f": 1.5, "yes": true, "no": false, "word": "true", "nil": null, "list": ["a b", "c'd"], "empty": [], "map": {"k": "v", "params": 9}},
        "steps": {"dump": {"rows": 7, "state": "succeeded", "list": [{"name": "x", "tables": [1, 2]}, {"name": "y", "tables": []}], "by_key": {"acme": {"rows": 5}}}, "my-step": {"out": 1}},
        "item": {"name": "acme", "bytes": 1536},
        "item_key": "acme",
        "run": {"id": "7f3a", "started": "2026-11-21T05:06:07Z", "state": "succeeded"},
    }))
}

fn parsed(src: &str) -> Template {
    Template::parse(src).unwrap_or_else(|fault| panic!("{src}: {fault:?}"))
}

fn value(src: &str) -> Value {
    parsed(src).render(&world()).unwrap_or_else(|fault| panic!("{src}: {fault:?}"))
}

fn refused(src: &str) -> TemplateFault {
    Template::parse(src).map(|template| panic!("{src} is taken: {template:?}")).unwrap_err()
}

fn failed(src: &str) -> RenderFault {
    parsed(src).render(&world()).map(|value| panic!("{src} gives {value}")).unwrap_err()
}

#[test]
fn a_text_without_expressions_is_itself() {
    for src in ["", "plain", "a } b }} { c", "ünï"] {
        assert_eq!(value(src), json!(src));
        assert!(parsed(src).is_literal());
    }
    assert_eq!(parsed(r"docker --format '\{{.Names}}'").literal_text(), Some("docker --format '{{.Names}}'"));
    assert_eq!(Template::literal("{{x").render(&world()), Ok(json!("{{x")));
}

#[test]
fn exactly_one_expression_keeps_its_type() {
    assert_eq!(value("{{params.n}}"), json!(3));
    assert_eq!(value("{{ params.list }}"), json!(["a b", "c'd"]));
    assert_eq!(value("{{params.nil}}"), Value::Null);
    assert_eq!(value("{{params.map}}"), json!({"k": "v", "params": 9}));
    assert_eq!(value("{{params.n}} "), json!("3 "));
    assert_eq!(value("{{eq params.n 3}}"), json!(true));
    assert_eq!(value("{{default params.missing 7}}"), json!(7));
    assert_eq!(value("{{(len params.list)}}"), json!(2));
}

#[test]
fn texts_are_put_together() {
    assert_eq!(
        value("{{params.dir}}/{{item.name}}-{{params.n}}-{{params.yes}}-{{params.f}}"),
        json!("/mnt/d/acme-3-true-1.5")
    );
    assert_eq!(
        value("{{steps.my-step.out}}{{steps.[my-step].out}}{{steps.dump.list.0.name}}{{steps.dump.list.[1].name}}"),
        json!("11xy")
    );
    assert_eq!(value("{{! a comment }}x{{!-- {{another}} --}}y"), json!("xy"));
    assert_eq!(value("<{{params.dir}}> & \"{{item.name}}\""), json!("</mnt/d> & \"acme\""), "nothing is escaped");
}

#[test]
fn a_path_is_asked_whole_first_and_then_below_its_beginning() {
    let scope = Exact(vec![
        ("steps.a", json!({"x": {"y": [5]}, "z": 1})),
        ("steps.a.z", json!(2)),
        ("steps.b.out", Value::Null),
        ("steps.b", json!({"out": 4})),
    ]);
    assert_eq!(parsed("{{steps.a.x.y.0}}").render(&scope), Ok(json!(5)));
    assert_eq!(parsed("{{steps.a.z}}").render(&scope), Ok(json!(2)));
    assert_eq!(parsed("{{steps.b.out}}").render(&scope), Ok(json!(4)));
    assert!(parsed("{{steps.a.x.w}}").render(&scope).is_err());
}

#[test]
fn a_missing_name_is_named_with_the_nearest() {
    let fault = failed("x {{params.dirr}}");
    assert_eq!(
        (fault.message.as_str(), fault.help.as_deref(), fault.offset),
        ("`params.dirr` is missing", Some("did you mean `dir`?"), 4)
    );
    assert_eq!(failed("{{steps.my-step.nothing_like_it}}").help.as_deref(), Some("there are `out`"));
    assert_eq!(failed("{{steps.dump.list.7}}").help.as_deref(), Some("the list has 2 elements, counted from 0"));
    assert_eq!(failed("{{nohelper}}").message, "`nohelper` is missing");
}

#[test]
fn the_holes_of_strict_mode_are_closed() {
    for src in [
        "{{eq params.missing 1}}",
        "{{#if (eq params.missing 1)}}x{{/if}}",
        "{{len params.missing}}",
        "{{#each params.missing}}{{/each}}",
        "{{json params.missing}}",
        "{{#with params.missing}}{{/with}}",
    ] {
        let template = parsed(src);
        assert_eq!(template.refs().len(), 1, "{src}");
        assert!(!template.refs()[0].guarded, "{src}");
        assert_eq!(failed(src).message, "`params.missing` is missing", "{src}");
    }
    assert!(parsed("{{#if params.missing}}{{/if}}").refs()[0].guarded, "the checker sees it");
}

#[test]
fn what_is_no_text_is_not_written_into_one() {
    assert!(failed("a{{params.list}}").help.is_some_and(|help| help.contains("json") && help.contains("join")));
    assert_eq!(failed("a{{params.map}}").message, "`params.map` is a map, which is no text");
    assert_eq!(failed("a{{params.nil}}").message, "`params.nil` is null, which is no text");
    assert_eq!(failed("{{#each steps.dump.list}}{{this}}{{/each}}").message, "`this` is a map, which is no text");
    assert_eq!(value("a{{default params.nil 'x'}}"), json!("ax"));
    assert!(parsed("{{params.list}}").render_text(&world()).is_err());
    assert_eq!(parsed("{{params.n}}").render_text(&world()).as_deref(), Ok("3"));
}

#[test]
fn conditions_are_true_or_false_and_nothing_else() {
    for (src, expected) in [
        ("{{params.yes}}", true),
        ("{{params.word}}", true),
        ("false", false),
        ("{{eq run.state 'succeeded'}}", true),
        ("{{#if params.n}}true{{else}}false{{/if}}", true),
    ] {
        assert_eq!(parsed(src).render_bool(&world()), Ok(expected), "{src}");
    }
    for (src, shown) in [
        ("{{params.n}}", "`3`"),
        ("yes", "`\"yes\"`"),
        ("{{params.nil}}", "`null`"),
        ("{{params.yes}} ", "`\"true \"`"),
    ] {
        let fault = parsed(src).render_bool(&world()).expect_err(src);
        assert_eq!(fault.message, format!("{shown} is neither true nor false"));
    }
}

#[test]
fn comparisons_are_those_of_handlebars() {
    for (src, expected) in [
        ("{{eq params.n 3}}", true),
        ("{{ne params.n 3}}", false),
        ("{{gt params.n 2.5}}", true),
        ("{{gte params.n 3}}", true),
        ("{{lt params.n 3}}", false),
        ("{{lte params.n '3'}}", true),
        ("{{lt 'a' 'b'}}", true),
        ("{{and params.yes params.n}}", true),
        ("{{or params.no params.zero}}", false),
        ("{{not params.empty}}", true),
        ("{{eq params.list (lookup params 'list')}}", true),
        ("{{and params.no params.missing}}", false),
        ("{{eq (len params.list) 2}}", true),
        ("{{eq params.n '3'}}", false),
    ] {
        assert_eq!(value(src), json!(expected), "{src}");
    }
    assert!(failed("{{gt params.list 1}}").message.contains("no order"));
    assert!(failed("{{lt params.dir 1}}").message.contains("no order"));
    assert!(failed("{{len params.n}}").message.contains("no length"));
    assert_eq!(failed("{{and params.yes params.missing}}").message, "`params.missing` is missing");
}

#[test]
fn default_takes_the_first_that_is_there() {
    assert_eq!(value("{{default params.missing params.nil params.n}}"), json!(3));
    assert_eq!(value("{{default params.zero 7}}"), json!(0));
    assert_eq!(value("{{default (lookup params.map 'q') 'none'}}"), json!("none"));
    assert_eq!(failed("{{default params.missing params.gone}}").message, "`params.gone` is missing");
    let refs = parsed("{{default steps.x.out params.n}}");
    assert_eq!(refs.refs().iter().map(|found| found.guarded).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn helpers_make_texts() {
    for (src, expected) in [
        ("{{json params.list}}", json!(r#"["a b","c'd"]"#)),
        ("{{json params.dir}}", json!("\"/mnt/d\"")),
        ("{{sh params.list}}", json!("'a b' \"c'd\"")),
        ("rm {{sh item.name}}", json!("rm acme")),
        ("{{sh ''}}", json!("''")),
        ("{{option_file 'a\"b\\\\'}}", json!(r#""a\"b\\""#)),
        ("{{join params.list}}", json!("a b,c'd")),
        ("{{join params.list ' + '}}", json!("a b + c'd")),
        ("{{basename params.dir}}", json!("d")),
        ("{{basename '/a/b.sql/' '.sql'}}", json!("b")),
        ("{{basename '/'}}", json!("/")),
        ("{{date run.started}}", json!("2026-11-21")),
        ("{{date run.started '%Y%m%d-%H%M%S'}}", json!("20261121-050607")),
        ("{{date run.started '%H:%M %Z' zone='Asia/Kolkata'}}", json!("10:36 IST")),
        ("{{date 0 '%Y'}}", json!("1970")),
        ("{{bytes item.bytes}}", json!("1.5 KiB")),
        ("{{bytes 0}}{{bytes 1023}} {{bytes 1024}} {{bytes '1048576'}}", json!("0 B1023 B 1 KiB 1 MiB")),
        ("{{regex_replace item.name 'a(c)' '${1}x'}}", json!("cxme")),
        ("{{lookup steps.dump.by_key item_key}}", json!({"rows": 5})),
        ("{{lookup params.list 1}}", json!("c'd")),
    ] {
        assert_eq!(value(src), expected, "{src}");
    }
}

#[test]
fn helpers_refuse_what_they_cannot_take() {
    for (src, part) in [
        ("{{sh params.map}}", "a map is no text"),
        ("{{sh \"a\\u0000b\"}}", "NUL"),
        ("{{join params.n}}", "a number is no list"),
        ("{{join steps.dump.list}}", "a map is no text"),
        ("{{bytes params.dir}}", "no number of bytes"),
        ("{{bytes -1}}", "no number of bytes"),
        ("{{date 'tomorrow'}}", "`tomorrow` is no moment"),
        ("{{date run.started '%!'}}", "format `%!`"),
        ("{{date run.started '%Y' zone='Mars/Base'}}", "time zone `Mars/Base` is unknown"),
        ("{{lookup params.map 'kk'}}", "`params.map` has no `kk`"),
        ("{{lookup params.n 'k'}}", "a number, not a map"),
        ("{{lookup params.map params.list}}", "a key is a text"),
    ] {
        let fault = failed(src);
        assert!(fault.message.contains(part), "{src}: {}", fault.message);
    }
}

#[test]
fn blocks_give_names_a_meaning() {
    for (src, expected) in [
        ("{{#each params.list}}{{@index}}={{this}}{{#unless @last}};{{/unless}}{{/each}}", "0=a b;1=c'd"),
        (
            "{{#each steps.dump.list}}{{name}}@{{params.dir}}/{{../params.n}}/{{@root.params.n}} {{/each}}",
            "x@/mnt/d/3/3 y@/mnt/d/3/3 ",
        ),
        (
            "{{#each steps.dump.list as |db i|}}{{i}}{{db.name}}{{#each db.tables as |t|}}{{t}}{{db.name}}{{@../index}}{{/each}},{{/each}}",
            "0x1x02x0,1y,",
        ),
        ("{{#each steps.dump.list}}{{#each tables}}{{this}}{{../name}}{{else}}none{{/each}} {{/each}}", "1x2x none "),
        ("{{#each params.map}}{{@key}}={{this}},{{/each}}", "k=v,params=9,"),
        ("{{#with steps.dump}}{{rows}} {{state}} {{params.n}}{{/with}}", "7 succeeded 3"),
        ("{{#with params.map}}{{k}}{{this.params}}{{/with}}", "v9"),
        ("{{#with (lookup steps.dump.list 0)}}{{name}}{{this.name}}{{/with}}", "xx"),
        ("{{#with steps.dump as |d|}}{{d.rows}}{{/with}}", "7"),
        ("{{#with params.missing}}{{x}}{{else}}none{{/with}}", "none"),
        ("{{#each params.missing}}{{x}}{{else}}none{{/each}}", "none"),
        ("{{#if params.missing}}a{{else if params.n}}b{{else}}c{{/if}}", "b"),
        ("{{#if params.zero}}a{{else if params.no}}b{{else}}c{{/if}}", "c"),
        ("{{#if (and params.missing (eq params.missing 1))}}a{{else}}b{{/if}}", "b"),
        ("{{#unless params.empty}}none{{/unless}}", "none"),
        ("a\n  {{#if params.yes}}\n  b\n  {{/if}}\nc", "a\n  b\nc"),
        ("a {{~params.n~}} b", "a3b"),
        ("{{{{raw}}}}{{x}}{{{{/raw}}}}", "{{x}}"),
    ] {
        assert_eq!(value(src), json!(expected), "{src}");
    }
    assert_eq!(
        failed("{{#each params.n}}{{/each}}").message,
        "`#each` needs a list or a map, and `params.n` is a number"
    );
    assert_eq!(failed("{{#each steps.dump.list}}{{nam}}{{/each}}").help.as_deref(), Some("did you mean `name`?"));
}

#[test]
fn references_say_where_and_how_they_are_used() {
    let src = "é {{params.a}}\n{{#if steps.c.ok}}{{steps.c.ok.x}}{{sh (json steps.d.f)}}{{else if params.a}}{{params.x}}{{/if}}{{secrets.pw}}{{#each steps.l.m}}{{name}}{{params.y}}{{/each}}{{eq params.a params.b}}";
    let shown: Vec<String> = parsed(src)
        .refs()
        .iter()
        .map(|found| {
            assert!(src[found.offset..].starts_with(&found.path.join(".")), "{found:?}");
            let opens: Vec<usize> = src.match_indices("{{").map(|(at, _)| at).collect();
            assert_eq!(opens.iter().rposition(|open| *open <= found.offset), Some(found.expression));
            format!(
                "{}#{}{}{}{}",
                found.path.join("."),
                found.expression,
                if found.guarded { "?" } else { "" },
                if found.plain { "!" } else { "" },
                found.helper.as_deref().map(|helper| format!(" {helper}")).unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "params.a#0!",
            "steps.c.ok#1? if",
            "steps.c.ok.x#2?!",
            "steps.d.f#3 json",
            "params.a#4? if",
            "params.x#5!",
            "secrets.pw#7!",
            "steps.l.m#8 each",
            "params.y#10!",
            "params.a#12 eq",
            "params.b#12 eq"
        ]
    );
}

#[test]
fn with_makes_static_references() {
    let paths: Vec<String> = parsed("{{#with steps.dump}}{{rows}}{{#each list}}{{../state}}{{/each}}{{/with}}")
        .refs()
        .iter()
        .map(|found| found.path.join("."))
        .collect();
    assert_eq!(paths, ["steps.dump", "steps.dump.rows", "steps.dump.list", "steps.dump.state"]);
}

#[test]
fn faults_say_what_is_wrong_and_what_to_write() {
    for (src, expression, message, help) in [
        ("{{params.x}} {{.Names}}", 1, "another tool", "template: false"),
        ("docker inspect -f '{{json .State}}'", 0, "another tool", "template: false"),
        ("a {{params.x", 0, "never closed", "}}"),
        ("{{params.x}} {{}}", 1, "is empty", "name"),
        ("{{#if params.x}} a", 0, "`{{#if` is never closed", "{{/if}}"),
        ("{{#if params.x}} a {{#each params.y}} {{/if}}", 2, "closes `{{#each`", "{{/each}}"),
        ("{{params.x}}{{/if}}", 1, "closes nothing", "{{#"),
        ("{{else}}", 0, "outside of a block", "{{#if"),
        ("{{params.a == 1}}", 0, "operator", "{{eq A B}}"),
        ("{{ params.a | default 1 }}", 0, "pipe", "default"),
        ("{{ params.a + 1 }}", 0, "calculates", "step"),
        ("x {{defualt params.a 1}}", 0, "unknown helper `defualt`", "`default`"),
        ("{{frobnicate params.a}}", 0, "unknown helper `frobnicate`", "`eq`, `ne`"),
        ("{{log params.a}}", 0, "unknown helper `log`", ""),
        ("{{eq params.a}}", 0, "takes 2 values, and 1 are given", "eq A B"),
        ("{{json}}", 0, "is given no value", ""),
        ("{{json params.a pretty=true}}", 0, "no option `pretty`", ""),
        ("{{{params.a}}}", 0, "three braces", "two braces"),
        ("{{> other}}", 0, "partials", ""),
        ("{{#*inline 'x'}}{{/inline}}", 0, "partials", ""),
        ("{{#eq params.a 1}}{{/eq}}", 0, "unknown block `#eq`", "{{#if (eq"),
        ("{{#fi params.a}}{{/fi}}", 0, "unknown block `#fi`", "`#if`"),
        ("{{#if params.a params.b}}{{/if}}", 0, "takes one value", ""),
        ("{{this}}", 0, "known only inside", ""),
        ("{{../x}}", 0, "further than there are blocks", ""),
        ("{{@index}}", 0, "known only inside `#each`", ""),
        ("{{#each params.l}}{{@foo}}{{/each}}", 1, "`@foo` is unknown", "@index"),
        ("{{secrets.a.b}}", 0, "a secret is one text", "secrets.NAME"),
        ("{{lookup secrets 'a'}}", 0, "a secret is one text", ""),
        ("{{regex_replace params.a '(' ''}}", 0, "`(` is no regular expression", ""),
    ] {
        let fault = refused(src);
        assert!(fault.message.contains(message), "{src}: {}", fault.message);
        assert_eq!(fault.expression, expression, "{src}: {fault:?}");
        assert!(fault.help.unwrap_or_default().contains(help), "{src}");
    }
}

#[test]
fn secrets_stay_sealed_until_they_are_unsealed() {
    let mut secrets = Secrets::default();
    secrets.insert("pw", "it's");
    for (src, expected) in [
        ("{{secrets.pw}}", "it's"),
        ("p={{secrets.pw}};", "p=it's;"),
        ("{{sh secrets.pw}}", "\"it's\""),
        ("{{json secrets.pw}}", "\"it's\""),
        ("{{option_file secrets.pw}}", "\"it's\""),
    ] {
        let rendered = value(src);
        assert!(seal::is_sealed(&rendered) && !rendered.to_string().contains("it's"), "{src}");
        assert_eq!(seal::unseal(&rendered, &secrets), Ok(json!(expected)), "{src}");
    }
    for src in [
        "{{len secrets.pw}}",
        "{{eq secrets.pw 'x'}}",
        "{{default secrets.pw ''}}",
        "{{#if secrets.pw}}{{/if}}",
        "{{regex_replace (json secrets.pw) 'a' 'b'}}",
        "{{bytes secrets.pw}}",
    ] {
        assert!(failed(src).message.contains("secret"), "{src}");
    }
}

#[test]
fn an_output_that_looks_like_a_secret_is_none() {
    let forged = seal::marker("pw");
    let scope = Exact(vec![("steps.a.out", json!(forged)), ("params.given", json!(forged))]);
    for src in [
        "{{steps.a.out}}",
        "x{{steps.a.out}}",
        "{{json steps.a.out}}",
        &format!("{forged}{{{{params.given}}}}"),
        &forged,
        &format!("{{{{json '{forged}'}}}}"),
    ] {
        assert!(!seal::is_sealed(&parsed(src).render(&scope).expect("renders")), "{src}");
    }
    assert!(!seal::is_sealed(&Tree::from(json!({forged.as_str(): [forged]})).render(&scope).expect("renders")));
}

#[test]
fn a_scope_may_rename_secrets_and_hand_on_sealed_params() {
    struct SubPlan;
    impl Scope for SubPlan {
        fn get(&self, _: &[String]) -> Option<Value> {
            Some(Value::String(seal::marker("0/outer")))
        }
        fn secret(&self, name: &str) -> Option<String> {
            (name == "known").then(|| seal::marker("1/known"))
        }
        fn may_hold_seals(&self, path: &[String]) -> bool {
            path.first().is_some_and(|root| root == "params")
        }
    }
    assert_eq!(parsed("{{secrets.known}}").render(&SubPlan), Ok(Value::String(seal::marker("1/known"))));
    assert_eq!(
        parsed("{{secrets.other}}").render(&SubPlan).expect_err("unknown").message,
        "`secrets.other` is missing"
    );
    assert!(seal::is_sealed(&parsed("{{params.pw}}").render(&SubPlan).expect("renders")));
    assert!(!seal::is_sealed(&parsed("{{steps.a.pw}}").render(&SubPlan).expect("renders")));
}

#[test]
fn a_tree_renders_at_every_leaf_and_keeps_its_shape() {
    let tree = Tree::Map(vec![
        ("a".into(), Tree::Value(json!(1))),
        ("b".into(), Tree::List(vec![Tree::Text(parsed("{{params.list}}")), Tree::Text(parsed("x{{params.n}}"))])),
    ]);
    assert_eq!(tree.render(&world()), Ok(json!({"a": 1, "b": [["a b", "c'd"], "x3"]})));
    assert_eq!(tree.refs().len(), 2);
    assert!(!tree.is_literal());
    assert!(Tree::from(json!([1, {"a": "{{x}}"}])).is_literal());
}

#[test]
fn templates_are_shared_between_threads() {
    fn check<T: Send + Sync + Clone + fmt::Debug>() {}
    check::<Template>();
    check::<Tree>();
}

#[test]
fn deep_nesting_is_refused_without_a_crash() {
    for depth in [30, 100, 2_000, 100_000] {
        for (open, inner, close) in
            [("(", "a", ")"), ("(not ", "params.a", ")"), ("(json [", "1", "])"), ("(json {\"a\":", "1", "})")]
        {
            for closed in [true, false] {
                let close = if closed { close.repeat(depth) } else { String::new() };
                let result = Template::parse(&format!("{{{{json {}{inner}{close}}}}}", open.repeat(depth)));
                assert!(depth < 100 || open == "(json [" || result.is_err(), "{open} {depth}");
                let _ = result.map(|template| template.render(&world()));
            }
        }
        let blocks = format!("{}x{}", "{{#if params.a}}".repeat(depth), "{{/if}}".repeat(depth));
        assert_eq!(Template::parse(&blocks).is_err(), depth > 30);
        assert!(Template::parse(&"{{#if params.a}}".repeat(depth)).is_err());
        let chain = format!("{{{{#if params.a}}}}{}{{{{/if}}}}", "{{else if params.b}}x".repeat(depth));
        assert_eq!(Template::parse(&chain).is_err(), depth > 40);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
        let _ = Template::parse(&text).map(|template| template.render(&world()));
    }

    #[test]
    fn any_mixture_of_words_is_read_without_a_panic(words in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{{", "}}}", "{{{{", "}}}}", "{{#", "{{/", "{{^", "{{!", "{{>", "{{~", "~}}", "~", "(", ")", "[", "]", "{", "}", "|", "#", "/", "else", "{{else}}", "{{else if ", "if", "each", "with", "as |a b|",
        "raw", "params.n", "params.list", "params.missing", "this", "this.x", "..", "../", "@root", "@root.params.n", "@index", "@../index", "./", ".", "secrets.pw", "steps.dump.list", "eq", "default", "json", "sh", "lookup", "date", "bytes", "regex_replace",
        "'a'", "\"b\"", "'", "\"", "\\", "\\{{", "1", "-1.5", "null", "true", "a=1", "=", " ", "\n", "é", "\u{f5ec}", "&", "*", "{{!--", "--}}", "name",
    ]), 0..24)) {
        let text = words.concat();
        match Template::parse(&text) {
            Ok(template) => {
                for found in template.refs() {
                    prop_assert!(text.is_char_boundary(found.offset) && found.offset <= text.len());
                    prop_assert!(found.expression < text.matches("{{").count());
                }
                if let Err(fault) = template.render(&world()) {
                    prop_assert!(text.is_char_boundary(fault.offset), "{:?}", fault);
                }
            }
            Err(fault) => {
                prop_assert!(text.is_char_boundary(fault.offset) && fault.offset <= text.len(), "{:?}", fault);
                prop_assert!(fault.expression < text.matches("{{").count(), "{:?}", fault);
            }
        }
    }

    #[test]
    fn what_is_quoted_for_a_shell_is_one_word(text in "[^\0]{0,20}") {
        let scope = Exact(vec![("params.x", json!(text))]);
        let word = parsed("{{sh params.x}}").render_text(&scope).expect("renders");
        prop_assert_eq!(shlex::split(&word), Some(vec![seal::clean(&text).into_owned()]));
    }
}
