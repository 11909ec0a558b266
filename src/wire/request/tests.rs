//! Tests of request bodies: Go's leniency, hostile input.

use proptest::prelude::*;

use super::*;

fn plaintext_of(body: &str) -> Option<Vec<u8>> {
    let parsed = parse_encrypt(body.as_bytes()).ok()?;
    Some(parsed.plaintext.expose().to_vec())
}

#[test]
fn bodies_are_read_as_go_reads_them() {
    let hi = Some(b"hi".to_vec());
    let empty = Some(Vec::new());
    for (body, expected) in [
        (r#"{"plaintext":"aGk="}"#, &hi),
        (r#" { "plaintext" : "aGk=" } "#, &hi),
        (r#"{"PLAINTEXT":"aGk="}"#, &hi),
        (r#"{"pl\u0061intext":"aGk="}"#, &hi),
        (r#"{"plaintext":"aGk="}trailing"#, &hi),
        (r#"{"plaintext":"aGk="}{"plaintext":"eA=="}"#, &hi),
        (r#"{"plaintext":"eA==","plaintext":"aGk="}"#, &hi),
        (r#"{"plaintext":"eA==","Plaintext":null}"#, &empty),
        (r#"{"plaintext":"aGk=","version":7,"x":{"y":[1e999]}}"#, &hi),
        (r#"{"plaintext":"aGl="}"#, &hi),
        (r#"{"plaintext":"aG\r\nk="}"#, &hi),
        (r#"{"plaintext":"\u0061Gk="}"#, &hi),
        (r#"{"plaintext":[104,105]}"#, &hi),
        (r#"{"plaintext":[]}"#, &empty),
        (r#"{"plaintext":[null]}"#, &Some(vec![0])),
        (r#"{"plaintext":""}"#, &empty),
        (r#"{"plaintext":null}"#, &empty),
        (r#"{}"#, &empty),
        (r#"null"#, &empty),
        (r#"nullx"#, &empty),
        ("", &None),
        (" \n", &None),
        ("{", &None),
        (r#"{"plaintext":"aGk="#, &None),
        (r#"{"plaintext":"aGk"}"#, &None),
        (r#"{"plaintext":"a-k="}"#, &None),
        (r#"{"plaintext":[256]}"#, &None),
        (r#"{"plaintext":[-1]}"#, &None),
        (r#"{"plaintext":[1.0]}"#, &None),
        (r#"{"plaintext":["a"]}"#, &None),
        (r#"{"plaintext":7}"#, &None),
        (r#"{"plaintext":true}"#, &None),
        (r#"{"plaintext":{}}"#, &None),
        (r#"{"plaintext":"aGk=",}"#, &None),
        (r#"[]"#, &None),
        (r#""aGk=""#, &None),
        (r#"7"#, &None),
        (r#"true"#, &None),
    ] {
        assert_eq!(&plaintext_of(body), expected, "{body}");
    }
}

#[test]
fn invalid_utf8_matters_only_where_it_is_used() {
    let skipped = b"{\"\xff\":\"\xfe\",\"plaintext\":\"aGk=\"}";
    let parsed = parse_encrypt(skipped).expect("skipped members may hold anything");
    assert_eq!(parsed.plaintext.expose(), b"hi");
    assert!(parse_encrypt(b"{\"plaintext\":\"\xff\"}").is_err());
    let import = parse_import(b"{\"cipher\":\"\xff\"}").expect("a cipher is any text");
    assert_eq!(import.cipher, "\u{fffd}");
}

#[test]
fn unknown_members_may_be_deeply_nested() {
    let body = format!("{{\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(plaintext_of(&body), Some(Vec::new()));
}

#[test]
fn long_arrays_of_integers_are_read_whole() {
    let body = format!("{{\"message\":[{}7]}}", "1,".repeat(1000));
    let parsed = parse_hmac(body.as_bytes()).expect("an array");
    assert_eq!(parsed.message.len(), 1001);
    assert_eq!(parsed.message.last(), Some(&7));
}

#[test]
fn every_route_has_its_members() {
    let both = br#"{"ciphertext":"YQ==","context":"Yg==","message":"Yw=="}"#;
    let decrypt = parse_decrypt(both).expect("a body");
    assert_eq!(
        (&*decrypt.ciphertext, &*decrypt.context),
        (&b"a"[..], &b"b"[..])
    );
    assert_eq!(parse_generate(both).expect("a body").context, b"b");
    assert_eq!(parse_hmac(both).expect("a body").message, b"c");
    assert_eq!(parse_encrypt(both).expect("a body").context, b"b");
}

#[test]
fn an_empty_body_is_an_error_on_every_route() {
    assert_eq!(parse_import(b"").err(), Some(InvalidBody));
    assert_eq!(parse_encrypt(b"").err(), Some(InvalidBody));
    assert_eq!(parse_generate(b"").err(), Some(InvalidBody));
    assert_eq!(parse_decrypt(b"").err(), Some(InvalidBody));
    assert_eq!(parse_hmac(b"").err(), Some(InvalidBody));
}

#[test]
fn imports_know_both_generations_of_names() {
    let new = parse_import(br#"{"key":"YQ==","cipher":"AES256"}"#).expect("a body");
    assert_eq!(
        (new.key.expose(), &*new.cipher, new.is_legacy),
        (&b"a"[..], "AES256", false)
    );
    let old = parse_import(br#"{"bytes":"YQ=="}"#).expect("a body");
    assert_eq!(
        (old.key.expose(), &*old.cipher, old.is_legacy),
        (&b"a"[..], "", true)
    );
    let old = parse_import(br#"{"bytes":"YQ==","algorithm":"XCHACHA20-POLY1305"}"#).expect("one");
    assert_eq!(old.cipher, "XCHACHA20-POLY1305");
    let null = parse_import(br#"{"key":null,"cipher":null}"#).expect("a body");
    assert_eq!(
        (null.key.expose(), &*null.cipher, null.is_legacy),
        (&b""[..], "", false)
    );
    assert!(parse_import(br#"{"cipher":7}"#).is_err());
}

#[test]
fn the_client_writes_what_the_sdk_writes() {
    assert_eq!(
        import(b"a", "AES<"),
        b"{\"key\":\"YQ==\",\"cipher\":\"AES\\u003c\"}\n"
    );
    assert_eq!(encrypt(b"", b""), b"{\"plaintext\":\"\"}\n");
    assert_eq!(
        encrypt(b"a", b"b"),
        b"{\"plaintext\":\"YQ==\",\"context\":\"Yg==\"}\n"
    );
    assert_eq!(generate(b""), b"{}\n");
    assert_eq!(generate(b"b"), b"{\"context\":\"Yg==\"}\n");
    assert_eq!(decrypt(b"a", b""), b"{\"ciphertext\":\"YQ==\"}\n");
    assert_eq!(hmac(b"c"), b"{\"message\":\"Yw==\"}\n");
}

#[test]
fn a_key_is_never_copied_by_growth() {
    let body = import(&[7; 32], "ChaCha20");
    let spare = body.capacity() - body.len();
    assert!(spare < 8, "{spare}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_import(&body);
        let _ = parse_encrypt(&body);
        let _ = parse_generate(&body);
        let _ = parse_decrypt(&body);
        let _ = parse_hmac(&body);
    }

    #[test]
    fn no_damaged_json_makes_a_parser_panic(
        body in "[{}\\[\\]\":,0-9a-f\\\\ ]{0,40}(plaintext|key|context|message|null|\"){0,4}[{}\\[\\]\":,]{0,9}"
    ) {
        let _ = parse_import(body.as_bytes());
        let _ = parse_encrypt(body.as_bytes());
        let _ = parse_generate(body.as_bytes());
        let _ = parse_decrypt(body.as_bytes());
        let _ = parse_hmac(body.as_bytes());
    }

    #[test]
    fn parsing_undoes_writing(
        first in proptest::collection::vec(any::<u8>(), 0..300),
        context in proptest::collection::vec(any::<u8>(), 0..300),
        cipher in ".{0,20}",
    ) {
        let read = parse_encrypt(&encrypt(&first, &context)).expect("written by us");
        prop_assert_eq!(read.plaintext.expose(), &first[..]);
        prop_assert_eq!(&read.context, &context);
        let read = parse_decrypt(&decrypt(&first, &context)).expect("written by us");
        prop_assert_eq!((&read.ciphertext, &read.context), (&first, &context));
        let read = parse_generate(&generate(&context)).expect("written by us");
        prop_assert_eq!(&read.context, &context);
        let read = parse_hmac(&hmac(&first)).expect("written by us");
        prop_assert_eq!(&read.message, &first);
        let read = parse_import(&import(&first, &cipher)).expect("written by us");
        prop_assert_eq!(read.key.expose(), &first[..]);
        prop_assert_eq!(read.cipher, cipher);
    }
}
