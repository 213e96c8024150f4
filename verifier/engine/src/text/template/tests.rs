//! What templates may do, and where they are stopped.

use assay_protocol::commitment::FailCode;
use assay_protocol::request::{Message, Prompt};

use super::super::tests::{chat, load, metadata, model};
use super::super::{RenderError, TextError};

/// What a template makes of one message "x" of the user, at the time 0.
fn render(template: &str) -> Result<String, RenderError> {
    let text = model(template);
    text.render(&chat("x"), 0).map(|tokens| text.decode(&tokens))
}

fn expression(expression: &str) -> Result<String, RenderError> {
    render(&format!("{{{{ {expression} }}}}"))
}

#[test]
fn methods_and_filters_give_what_python_gives() {
    // Each row was checked against Python and Jinja2 with the settings of transformers.
    let cases = [
        ("' a b '.strip() ~ '|'", "a b|"),
        ("'xxaxx'.lstrip('x') ~ 'xxaxx'.rstrip('x')", "axxxxa"),
        ("'a,b,c'.split(',') | join('-')", "a-b-c"),
        ("'a,b,c'.split(',', 1)[-1]", "b,c"),
        ("'a,b,c'.rsplit(',', 1) | join('|')", "a,b|c"),
        ("' a  b '.split() | length", "2"),
        ("'ab'.startswith('a') and 'ab'.endswith(('x', 'b'))", "True"),
        ("'abab'.replace('a', 'x', 1) ~ 'abab'.count('b')", "xbab2"),
        ("'éab'.find('b') ~ 'a'.find('b')", "2-1"),
        ("'hello big wOrld'.title()", "Hello Big World"),
        ("'aB'.upper() ~ 'aB'.lower() ~ 'ab' | capitalize", "ABabAb"),
        ("'a.b'.removeprefix('a').removesuffix('b')", "."),
        ("'a\\nb'.splitlines() | length", "2"),
        ("','.join(['a', 'b'])", "a,b"),
        ("{'b': 1, 'a': 2}.items() | list | length", "2"),
        ("{'b': 1, 'a': 2}.keys() | join", "ba"),
        ("{'b': 1, 'a': 2}.values() | join", "12"),
        ("{'a': 1}.get('b', 5) ~ {'a': 1}.get('a')", "51"),
        ("{'a': 1}.get('b') is none", "True"),
        ("(messages | selectattr('role', 'equalto', 'user') | list)[0].content", "x"),
        ("{'b': [1, none, true], 'a': '<é\"\\n'} | tojson", "{\"b\": [1, null, true], \"a\": \"<é\\\"\\n\"}"),
        ("{'a': [1, {}]} | tojson(indent=2)", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"),
        ("[] | tojson ~ {} | tojson", "[]{}"),
        ("tools is none and documents is none and add_generation_prompt", "True"),
        ("missing ~ 'x'", "x"),
        ("'a b  c '.split(none, 1) | join('|')", "a|b  c "),
        ("' a b'.split(maxsplit=1) | join('|') ~ 'a,b,c'.split(',', maxsplit=1)[1]", "a|bb,c"),
        ("' '.split(none, 1) | length ~ 'a'.split(none, 0)[0]", "0a"),
        ("'<{}|{{}}|{1}|{0}>'.format('a', 2)", "<a|{}|2|a>"),
        ("{'b': 1, 'A': 2, 'c': 0} | dictsort | map('first') | join", "Abc"),
        (
            "none is iterable ~ 'ab' is iterable ~ [] is iterable ~ missing is iterable ~ 1 is iterable",
            "FalseTrueTrueTrueFalse",
        ),
        (
            "'é🦀\\n' | tojson(ensure_ascii=true) ~ 'é' | tojson(ensure_ascii=false)",
            "\"\\u00e9\\ud83e\\udd80\\n\"\"é\"",
        ),
        ("strftime_now('%d %b %Y')", "01 Jan 1970"),
    ];
    for (source, expected) in cases {
        assert_eq!(expression(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn white_space_around_blocks_is_taken_as_transformers_takes_it() {
    let template = "a\n  {% if true %}\n  b\n  {% endif %}\nc\n";
    assert_eq!(render(template).as_deref(), Ok("a\n  b\nc"));
    assert_eq!(
        render("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}").unwrap(),
        "01"
    );
}

#[test]
fn what_an_assistant_writes_is_marked_for_trainers_only() {
    let marked = "{% for m in messages %}\n  {%- generation -%}\n{% set y = 1 %}{{ m.content }}\n  {% endgeneration %}\n{{ y }}.{% endfor %}";
    assert_eq!(render(marked).as_deref(), Ok("x\n."));
    assert_eq!(render("{{ generation }}{% set generation = 2 %}{{ generation }}").as_deref(), Ok("2"));
}

#[test]
fn a_refusal_of_the_template_says_why() {
    let error = expression("raise_exception('roles must alternate')").unwrap_err();
    assert!(error.to_string().contains("roles must alternate"), "{error}");
    assert_eq!(error.fail_code(), Some(FailCode::Template));
}

#[test]
fn the_time_is_the_requests() {
    let text = model("{{ strftime_now('%Y-%m-%d') }}");
    let tokens = text.render(&chat("x"), 1_795_478_400).unwrap();
    assert_eq!(text.decode(&tokens), "2026-11-24");
}

#[test]
fn what_could_differ_between_machines_is_missing() {
    let missing = ["1.5 | round", "[2, 1] | sort", "debug()", "'é' is lower", "{} | pprint"];
    for source in missing {
        assert!(matches!(expression(source), Err(RenderError::Template(_))), "{source}");
    }
    // Letters outside ASCII keep their case, whatever the tables of the standard library say.
    assert_eq!(expression("'éß'.upper() ~ 'Éa' | lower ~ 'é' | title").as_deref(), Ok("éßÉaé"));
}

#[test]
fn work_beyond_the_limit_is_stopped() {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}";
    let ends = "{% endfor %}{% endfor %}";
    let calls =
        "{% macro f(n) %}{% for i in range(99) %}{{ f(n - 1) if n else '' }}{% endfor %}{% endmacro %}";
    let cases = [
        format!("{loops}{{{{ a }}}}{ends}"),
        format!("{calls}{{{{ f(3) }}}}"),
        // Each of these would also take memory without end.
        "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}"
            .to_owned(),
        "{% set x = 'x' * 100000000000 %}".to_owned(),
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) | length }}".to_owned(),
        "{{ ('a' * 1000000).join(range(1000) | list) | length }}".to_owned(),
        "{{ ('ab' * 500000).split('b') | length }}".to_owned(),
        // Methods pay for what they read.
        format!("{{% set s = 'ab' * 500000 %}}{loops}{{{{ s.find('c') }}}}{ends}"),
        "{{ ('ab' * 50000).strip('ba' * 50000) }}".to_owned(),
        "{{ ('{0}' * 100000).format('a' * 1000000) }}".to_owned(),
        format!("{{% set l = ['b'] * 9999 %}}{loops}{{{{ 'a'.startswith(l) }}}}{ends}"),
        format!("{{% set l = range(999) | list %}}{loops}{{{{ l | tojson | length }}}}{ends}"),
    ];
    for template in cases {
        let error = render(&template).unwrap_err();
        assert!(matches!(error, RenderError::Fuel), "{template} gives {error:?}");
        assert_eq!(error.fail_code(), Some(FailCode::Fuel));
    }
}

#[test]
fn work_that_no_instruction_pays_for_is_paid_for_by_the_operation() {
    let grown = |step: &str| {
        format!("{{% set n = namespace(x=[1], y=[1]) %}}{{% for i in range(40) %}}{step}{{% endfor %}}")
    };
    // Both hold one list twice, forty times over: 2^40 values.
    let lists = grown("{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}");
    let maps = grown("{% set n.x = {'a': n.x, 'b': n.x} %}{% set n.y = {'a': n.y, 'b': n.y} %}");
    let uses = [
        "n.x == n.y",
        "n.x != n.y",
        "n.x < n.y",
        "n.x >= n.y",
        "n.x in [n.y]",
        "n.x in 'abc'",
        "n.x",
        "n.x ~ ''",
        "{n.x: 1} | length",
        "{'a': 1}[n.x]",
        "{'a': 1}.get(n.x)",
        "n.x | string | length",
        "n.x | join | length",
        "n.x | escape | length",
        "n.x | trim",
        "'abc' | replace(n.x, 'b')",
        "[n.x, n.y] | min | length",
        "[n.x] | map('string') | list",
        "[n.x] | select('eq', n.y) | list",
        "n.x is eq(n.y)",
        "n.x is in([n.y])",
        "n.x | tojson | length",
        "'{0}'.format(n.x)",
    ];
    let of_lists = uses.map(|used| (&lists, used));
    let of_maps = ["n.x == n.y", "n.x", "n.x | dictsort"].map(|used| (&maps, used));
    for (grown, used) in of_lists.into_iter().chain(of_maps) {
        let rendered = render(&format!("{grown}{{{{ {used} }}}}"));
        assert_eq!(rendered, Err(RenderError::Fuel), "{used}");
    }
    let loops =
        |before: &str, step: &str| format!("{before}{{% for i in range(60000) %}}{step}{{% endfor %}}");
    let namespace = "{% set n = namespace(x=[1]) %}";
    let cases = [
        loops(namespace, "{% set n.x = n.x[0:] %}"),
        loops(namespace, "{% set n.x = n.x * 1 %}"),
        loops(namespace, "{% set n.x = (n.x + []) * 1 %}{% set y = n.x | first %}"),
        loops("{% set a = range(99999) %}", "{% set z = a[99998:] | first %}"),
        loops("{% set a = [1] * 100000 %}", "{% set z = a[99999:] | first %}"),
        loops("{% set a = range(9999) | list %}{% set b = range(9999) | list %}", "{% set z = a == b %}"),
        loops("{% set a = 'é' * 1000000 %}", "{% set z = a[-1] %}"),
        loops("{% set a = 'é' * 1000000 %}", "{% set z = a[-1:] %}"),
        loops("{% set a = 'é' * 1000000 %}{% set b = a ~ '' %}", "{% set z = a == b %}"),
    ];
    for template in cases {
        assert_eq!(render(&template), Err(RenderError::Fuel), "{template}");
    }
    let doubled = grown("{% set n.x = n.x + n.x %}");
    assert!(matches!(render(&doubled), Err(RenderError::Template(_))), "lists that double");
}

#[test]
fn a_namespace_that_could_hold_itself_is_refused() {
    let refused = [
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
        "{% set n = namespace() %}{{ [n] }}",
        "{% set n = namespace() %}{% set m = n %}",
        "{% set f = namespace %}{% set n = f() %}",
        "{{ namespace() }}",
        "{% set n = namespace(x=namespace()) %}",
        "{% macro f(x) %}{% endmacro %}{% set n = namespace() %}{{ f(n) }}",
        "{% set a = 2 %}{{ 1 < a < 3 }}",
        "{% for i in [1] %}{{ loop.changed(i) }}{% endfor %}",
    ];
    for template in refused {
        let refused = load(metadata(template)).err();
        let expected =
            matches!(&refused, Some(TextError::Template(cause)) if cause.contains("is not supported"));
        assert!(expected, "{template} gives {refused:?}");
    }
    let fine =
        "{% set n = namespace(a=1) %}{% set n.b = [n.a, n['a']] %}{{ n.b | tojson }}{{ n.c is defined }}";
    assert_eq!(render(fine).as_deref(), Ok("[1, 1]False"));
}

#[test]
fn nesting_beyond_the_limit_is_stopped() {
    let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    let deep_json = "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}\
        {{ ns.l | tojson }}";
    for template in [recursion, deep_json] {
        assert!(matches!(render(template), Err(RenderError::Template(_))), "{template}");
    }
}

#[test]
fn a_template_of_extreme_shape_overflows_no_stack() {
    // Long expressions; the engine recurses into each of their parts.
    for part in ["1 + ", "not ", "-", "x or ", "x~", "1 if x else "] {
        let template = format!("{{{{ {}1 }}}}", part.repeat(1000));
        assert!(render(&template).is_ok(), "{part}");
    }
    for part in [".x", "[0]", "()", "|x", " is x"] {
        let template = format!("{{{{ x{} }}}}", part.repeat(1000));
        assert!(matches!(render(&template), Err(RenderError::Template(_))), "{part}");
    }
    // Values as deep as the fuel allows, printed and dropped.
    for (open, close) in [("[", "]"), ("{1:", "}"), ("(", ",)"), ("dict(a=", ")")] {
        let deeper = format!("{{% set n.l = {}n.l{} %}}", open.repeat(60), close.repeat(60));
        let template = |rounds: usize| {
            format!(
                "{{% set n = namespace(l=[]) %}}{{% for i in range({rounds}) %}}{}{{% endfor %}}{{{{ n.l }}}}",
                deeper.repeat(60)
            )
        };
        assert!(render(&template(8)).is_ok(), "{open}");
        assert!(matches!(render(&template(9999)), Err(RenderError::Fuel)), "{open}");
    }
}

#[test]
fn an_expression_beyond_the_limit_is_refused() {
    let long = format!("{{{{ {}1 }}}}", "1 + ".repeat(2048));
    assert!(matches!(load(metadata(&long)), Err(TextError::TooLarge { .. })));
    let many = "{{ 1 + 1 }}".repeat(2048);
    assert!(load(metadata(&many)).is_ok());
}

#[test]
fn a_long_text_is_stopped() {
    let error = render("{{ 'x' * 1048577 }}").unwrap_err();
    assert!(matches!(error, RenderError::TooLong { .. }), "{error:?}");
    assert_eq!(render("{{ 'x' * 1048576 }}").unwrap().len(), 1_048_576);
}

#[test]
fn the_largest_conversation_renders_within_the_limits() {
    let chatml = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>' }}\n\
        {% endfor %}";
    let message = |i: usize| Message { role: "user".to_owned(), content: "0123456789".repeat(100 + i % 3) };
    let messages: Vec<_> = (0..256).map(message).collect();
    assert!(model(chatml).render(&Prompt::Chat(messages), 0).is_ok());
}
