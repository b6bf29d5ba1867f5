use super::*;
use hotpatch_names::named;
use std::time::Duration;

fn calls(text: &str) -> CallSet {
    match expression(text) {
        Ok(Expression::Trace(set)) => set,
        other => panic!("{text}: {other:?}"),
    }
}

fn injected(text: &str) -> Inject {
    match expression(text) {
        Ok(Expression::Inject(inject)) => inject,
        other => panic!("{text}: {other:?}"),
    }
}

fn has(text: &str, name: &str) -> bool {
    calls(text).has(u64::from(named(name).unwrap().number))
}

#[test]
fn sets_of_calls() {
    assert!(has("read,write", "write") && !has("read,write", "close"));
    assert!(has("trace=%file", "openat") && has("t=file", "stat") && !has("%file", "read"));
    assert!(!has("!close", "close") && has("!close", "open") && !has("trace=!%desc", "read"));
    assert!(
        has("/^open", "openat2")
            && !has("/^open", "mq_open")
            && has("trace=/^(read|write)v$", "readv")
    );
    assert!(has("?nosuchcall,read", "read") && has("read@64", "read") && has("257", "openat"));
    assert!(calls("all").has(5000) && !calls("none").has(0) && !calls("read").has(5000));
    assert!(has("%%stat", "statx") && has("%net", "socket"));
}

#[test]
fn other_qualifiers() {
    assert_eq!(
        expression("status=failed"),
        Ok(Expression::Status(vec![Status::Failed]))
    );
    assert_eq!(
        expression("fd=1,2"),
        Ok(Expression::Descriptors(false, vec![1, 2]))
    );
    assert_eq!(
        expression("fd=!0"),
        Ok(Expression::Descriptors(true, vec![0]))
    );
    assert_eq!(
        expression("signal=int,SIGCHLD,RT_1"),
        Ok(Expression::Signals(1 << 1 | 1 << 16 | 1 << 32))
    );
    assert_eq!(expression("s=!SIGIO"), Ok(Expression::Signals(!(1 << 28))));
    let Ok(Expression::Status(rest)) = expression("status=!failed,unfinished") else {
        panic!()
    };
    assert_eq!(
        rest,
        [Status::Successful, Status::Unavailable, Status::Detached]
    );
}

#[test]
fn injections() {
    let inject = injected("inject=openat,open:error=ENOENT:when=3..9+2");
    assert_eq!(inject.answer, Some(Answer::Error(2)));
    assert_eq!(
        inject.when,
        When {
            first: 3,
            last: 9,
            step: 2
        }
    );
    let when = |text: &str| {
        let When { first, last, step } = injected(text).when;
        (first, last, step)
    };
    assert_eq!(when("fault=read:when=2"), (2, u64::MAX, 0));
    assert_eq!(when("fault=read:when=2+"), (2, u64::MAX, 1));
    assert_eq!(when("fault=read:when=2+3"), (2, u64::MAX, 3));
    assert_eq!(when("fault=read:when=2..3"), (2, 3, 1));
    assert_eq!(when("fault=read"), (1, u64::MAX, 1));
    assert_eq!(injected("fault=read").answer, Some(Answer::Error(38)));
    let inject = injected(
        "inject=read:retval=0x10:signal=SIGUSR1:delay_enter=5ms:delay_exit=20:prob=0.01:seed=7",
    );
    assert_eq!(
        (inject.answer, inject.signal),
        (Some(Answer::Value(16)), Some(10))
    );
    assert_eq!(
        (inject.delay_enter, inject.delay_exit),
        (
            Some(Duration::from_millis(5)),
            Some(Duration::from_micros(20))
        )
    );
    assert_eq!(
        inject.probability,
        Some(Probability {
            rate: 0.01,
            seed: 7
        })
    );
    let inject = injected("inject=uname:poke_exit=@arg1=48690a,@arg2=00:syscall=getpid:retval=1");
    assert_eq!(inject.pokes.len(), 2);
    assert_eq!(
        (inject.pokes[0].argument, inject.pokes[0].bytes.as_slice()),
        (0, &b"Hi\n"[..])
    );
    assert_eq!(inject.syscall, Some(39));
}

/// The expression, the mark below it and the reason.
#[track_caller]
fn refused(text: &str, mark: &str, reason: &str) {
    let error = expression(text).unwrap_err();
    assert_eq!(error.to_string(), format!("{text}\n{mark}\n{reason}"));
}

#[test]
fn errors_mark_the_place() {
    refused(
        "trace=read,opnat",
        "           ^^^^^",
        "no such system call: did you mean openat?",
    );
    refused(
        "trace=%netwrk",
        "      ^^^^^^^",
        "no such class: did you mean %network?",
    );
    refused(
        "tace=read",
        "^^^^",
        "no such qualifier: did you mean trace?",
    );
    refused(
        "inject=read:error=ENOENTT",
        "                  ^^^^^^^",
        "no such error: did you mean ENOENT?",
    );
    refused(
        "inject=read:eror=EIO",
        "            ^^^^",
        "nothing of that name can be injected: did you mean error?",
    );
    refused(
        "inject=read:error=EIO:when=0",
        "                           ^",
        "not an ordinal: FIRST[..LAST][+STEP], from 1 on",
    );
    refused(
        "inject=read:error=EIO:when=9..3",
        "                              ^",
        "the last comes before the first, 9",
    );
    refused(
        "inject=read:error=EIO:seed=3",
        "                      ^^^^^^",
        "a seed without prob=",
    );
    refused(
        "inject=read:error=EIO:prob=2",
        "                           ^",
        "not a probability from 0 to 1",
    );
    refused(
        "inject=read:signal=SIGUSR3",
        "                   ^^^^^^^",
        "no such signal: did you mean SIGUSR1, SIGUSR2?",
    );
    refused(
        "inject=read:syscall=open",
        "                    ^^^^",
        "only a call of class %pure can stand in",
    );
    refused(
        "status=faild",
        "       ^^^^^",
        "no such status: did you mean failed?",
    );
    refused(
        "fault=read:retval=3",
        "           ^^^^^^",
        "not with fault=: say inject=",
    );
    assert!(
        expression("trace=/(")
            .unwrap_err()
            .to_string()
            .starts_with("trace=/(\n       ^\nnot a regular expression")
    );
    for text in [
        "",
        "trace=",
        "inject=read",
        "inject=read:error",
        "fd=-1",
        "fd=x",
        "inject=read:poke_exit=@arg7=00",
    ] {
        assert!(expression(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_makes_the_parser_panic() {
    let pieces = [
        "trace", "=", ":", ",", "!", "/", "%", "é", "inject", "read", "error", "when", "..", "+",
        "@arg1", "(", "9", "0x", "?",
    ];
    let mut state = 1u64;
    for _ in 0..500 {
        let mut text = String::new();
        for _ in 0..6 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text += pieces[(state >> 33) as usize % pieces.len()];
        }
        if let Err(error) = expression(&text) {
            let _ = error.to_string();
        }
    }
}
