//! Connections that break and answers that get lost.

use std::time::Duration;

use pgstow_core::repository::store::cloud::Patience;
use pgstow_core::repository::store::{CloudCase, CloudStore, Store};

use crate::ground::{noise, own_prefix, put, read};
use crate::proxy::{Fault, FaultProxy};
use crate::servers::{self, Kind};

const MEBIBYTE: usize = 1 << 20;
const SERVERS: [Kind; 3] = [Kind::Radosgw, Kind::S3sFs, Kind::Azurite];

#[test]
fn a_read_that_is_cut_goes_on_where_it_broke() {
    let content = noise(8 * MEBIBYTE, 1);
    // The radosgw of the tests sends other bytes than those it was asked for, where the range does
    // not begin with one of its chunks.
    for kind in [Kind::S3sFs, Kind::Azurite] {
        let server = servers::shared(kind);
        let prefix = own_prefix();
        put(&CloudStore::open(&server.settings(&prefix)).unwrap(), "file", &content).unwrap();
        // The library goes on by itself, as long as it may repeat; later the reader does.
        for retries in [3, 0] {
            let proxy = FaultProxy::start(server.port, Fault::CutOnceAfter(5 << 20));
            let patience = Patience { first_retries: retries, later_retries: retries, ..Patience::default() };
            let settings = server.settings_through(proxy.port(), &prefix);
            let store = CloudStore::open_with(&settings, patience).unwrap();
            assert!(read(&store, "file").unwrap() == content, "{kind:?}");
            let passed = proxy.passed();
            assert!(passed > 8 << 20, "{kind:?}: nothing was cut");
            assert!(passed < 12 << 20, "{kind:?}: {passed} bytes, so it began anew");
        }
    }
}

#[test]
fn a_read_that_breaks_again_and_again_is_an_error_and_no_short_file() {
    for kind in SERVERS {
        let server = servers::shared(kind);
        let prefix = own_prefix();
        put(&CloudStore::open(&server.settings(&prefix)).unwrap(), "file", &noise(8 * MEBIBYTE, 2)).unwrap();
        let proxy = FaultProxy::start(server.port, Fault::CutAfter(5 << 20));
        let patience = Patience { first_retries: 1, later_retries: 1, ..Patience::default() };
        let settings = server.settings_through(proxy.port(), &prefix);
        let store = CloudStore::open_with(&settings, patience).unwrap();
        assert!(read(&store, "file").is_err(), "{kind:?}");
    }
}

#[test]
fn a_put_whose_answer_is_lost_is_no_other_runs_file() {
    for kind in SERVERS {
        let server = servers::shared(kind);
        let prefix = own_prefix();
        // The answer to the question whether it is there passes, and that to the put does not.
        let question = FaultProxy::start(server.port, Fault::None);
        let asked = CloudStore::open(&server.settings_through(question.port(), &prefix)).unwrap();
        assert_eq!(asked.size("header").unwrap(), None);
        let proxy = FaultProxy::start(server.port, Fault::CutOnceAfter(question.passed()));
        let store = CloudStore::open(&server.settings_through(proxy.port(), &prefix)).unwrap();
        assert!(put(&store, "header", b"mine").unwrap(), "{kind:?}");
        assert!(proxy.passed() > question.passed(), "{kind:?}: no answer was lost");
        assert_eq!(store.read_all("header", 100).unwrap(), b"mine");
        assert!(!put(&store, "header", b"another's").unwrap());
    }
}

#[test]
fn a_large_file_is_written_in_spite_of_a_cut_anywhere() {
    const CUTS: u64 = 12;
    let content = noise(18 * MEBIBYTE, 3);
    for kind in SERVERS {
        let server = servers::shared(kind);
        let prefix = own_prefix();
        // As many bytes as the server answers when nothing breaks.
        let whole = FaultProxy::start(server.port, Fault::None);
        let store = CloudStore::open(&server.settings_through(whole.port(), &prefix)).unwrap();
        assert!(put(&store, "whole", &content).unwrap());
        for cut in 0..CUTS {
            let after = whole.passed() * cut / CUTS;
            let path = format!("objects/{cut}");
            let proxy = FaultProxy::start(server.port, Fault::CutOnceAfter(after));
            let store = CloudStore::open(&server.settings_through(proxy.port(), &prefix)).unwrap();
            let written = put(&store, &path, &content);
            assert!(matches!(written, Ok(true)), "{kind:?}, cut after {after} bytes: {written:?}");
            assert!(proxy.passed() > after, "{kind:?}: nothing was cut");
            assert_eq!(store.size(&path).unwrap(), Some(18 << 20), "{kind:?}, cut after {after} bytes");
            // The radosgw of the tests answers reads of files in parts with wrong bytes.
            if !matches!(kind, Kind::Radosgw) {
                assert!(read(&store, &path).unwrap() == content, "{kind:?}, cut after {after} bytes");
            }
        }
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    for kind in SERVERS {
        let server = servers::shared(kind);
        let proxy = FaultProxy::start(server.port, Fault::StallAfter(0));
        let answer = Duration::from_millis(200);
        let patience = Patience { answer, first_retries: 1, ..Patience::default() };
        let settings = server.settings_through(proxy.port(), &own_prefix());
        let store = CloudStore::open_with(&settings, patience).unwrap();
        let error = store.size("file").unwrap_err();
        let case = crate::errors::case(error);
        let host = format!("127.0.0.1:{}", proxy.port());
        assert!(matches!(&case, CloudCase::TimedOut { host: named } if *named == host), "{kind:?}: {case:?}");
    }
}
