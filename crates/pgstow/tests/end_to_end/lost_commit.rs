//! A COMMIT whose answer never arrives: what became of it is found out, and what nobody can find out is not
//! claimed. The oracle says what is there.

use std::sync::Arc;

use crate::support::oracle;
use crate::support::program::Outcome;
use crate::support::proxy::{Fault, FaultProxy, LostCommit};
use crate::support::psql::Database;
use crate::support::servers::{DEFAULT_MAJOR, Server};
use crate::support::stock;
use crate::support::waiting;
use crate::support::workspace::Workspace;

const ALL: [LostCommit; 3] = [LostCommit::OnTheWay, LostCommit::Answer, LostCommit::AnswerAndServer];

/// A backup of `prod`, and a target that holds something else.
struct Stage {
    workspace: Workspace,
    id: String,
    target: Database,
    proxy: FaultProxy,
}

impl Stage {
    fn new() -> Self {
        let server = Arc::new(Server::start_without_tls(DEFAULT_MAJOR));
        let source = server.database("source");
        source.run(
            "CREATE TABLE items (id serial PRIMARY KEY, name text); \
             INSERT INTO items (name) SELECT md5(n::text) FROM generate_series(1, 500) n",
        );
        let mut workspace = Workspace::with_source(&source);
        let id = workspace.backup(&[]);
        let target = server.database("target");
        target.run("CREATE TABLE precious (n int PRIMARY KEY); INSERT INTO precious VALUES (1), (2)");
        let port = server.process.tcp_port().expect("test servers listen on TCP");
        let proxy = FaultProxy::start(port, Fault::None);
        workspace.environment("DEV", &server.open_url_through(proxy.port(), &target.name));
        Self { workspace, id, target, proxy }
    }

    /// Runs the program on the target, and loses the COMMIT of its one transaction in this way.
    fn run(&self, how: LostCommit, arguments: &[&str]) -> Outcome {
        self.proxy.lose_commit(how);
        let outcome = self.workspace.run(arguments);
        assert!(self.proxy.lost_commit(), "no COMMIT was lost\n{}", outcome.said());
        waiting::until_all_clients_are_gone(&self.target);
        outcome
    }

    /// Restores with nothing lost.
    fn restore(&self) {
        self.workspace.run(&["restore", &self.id, "--to", "dev", "--clean", "--yes"]).succeeded();
    }

    fn state(&self) -> oracle::State {
        oracle::state(&self.target)
    }
}

/// What is said fits what became of the transaction.
fn check(how: LostCommit, outcome: Outcome) -> Outcome {
    let (code, said, not_said) = match how {
        LostCommit::OnTheWay => (1, "the target is as it was", "is not known"),
        LostCommit::Answer => (0, "the server is asked what became of it", "as it was"),
        LostCommit::AnswerAndServer => (1, "the transaction was committed is not known", "as it was"),
    };
    let outcome = outcome.ended_with(code).saying(&[said]);
    assert!(!outcome.said().contains(not_said), "{how:?}\n{}", outcome.said());
    assert!(!outcome.said().contains("nothing was changed"), "{how:?}\n{}", outcome.said());
    outcome
}

#[test]
fn a_restore_and_an_undo_find_out_whether_they_were_committed() {
    for how in [LostCommit::OnTheWay, LostCommit::Answer] {
        let stage = Stage::new();
        let before = stage.state();
        check(how, stage.run(how, &["restore", &stage.id, "--to", "dev", "--clean", "--yes"]));
        if how == LostCommit::OnTheWay {
            oracle::assert_same(&before, &stage.state());
            let refused = stage.workspace.run(&["undo", "dev", "--yes"]).ended_with(4);
            refused.saying(&["nothing to undo"]);
            stage.restore();
        }
        let restored = stage.state();
        assert_eq!(stage.target.value("SELECT count(*) FROM items"), "500");

        check(how, stage.run(how, &["undo", "dev", "--yes"]));
        oracle::assert_same(if how == LostCommit::OnTheWay { &restored } else { &before }, &stage.state());
        if how == LostCommit::OnTheWay {
            stage.workspace.run(&["undo", "dev", "--yes"]).succeeded();
            oracle::assert_same(&before, &stage.state());
        }
    }
}

#[test]
fn what_is_not_known_names_the_question_that_the_server_can_answer_and_is_undone() {
    let stage = Stage::new();
    let how = LostCommit::AnswerAndServer;
    let before = stage.state();
    let outcome = check(how, stage.run(how, &["restore", &stage.id, "--to", "dev", "--clean", "--yes"]));
    let outcome = outcome.saying(&["to undo it: pgstow undo dev"]);
    let said = outcome.said();
    let (_, question) = said.split_once("the server can tell: ").expect("a question");
    assert_eq!(stage.target.value(question.lines().next().expect("a line")), "committed");
    stage.workspace.run(&["undo", "dev", "--yes"]).succeeded();
    oracle::assert_same(&before, &stage.state());
}

#[test]
fn missing_rows_find_out_whether_they_were_committed() {
    for how in ALL {
        let stage = Stage::new();
        stage.restore();
        stage.target.run("DELETE FROM items WHERE id > 400; SELECT setval('items_id_seq', 1)");
        let restore = ["restore", &stage.id, "--to", "dev", "--table", "items", "--only-missing", "--yes"];
        let outcome = check(how, stage.run(how, &restore));
        let back = how != LostCommit::OnTheWay;
        assert_eq!(stage.target.value("SELECT count(*) FROM items"), if back { "500" } else { "400" });
        match how {
            LostCommit::OnTheWay => {
                assert_eq!(stage.target.value("SELECT last_value FROM items_id_seq"), "1")
            }
            LostCommit::Answer => {
                outcome.saying(&["100 missing rows put back", "stands at 500 now"]);
                assert_eq!(stage.target.value("SELECT last_value FROM items_id_seq"), "500");
            }
            LostCommit::AnswerAndServer => drop(outcome.saying(&["--dry-run shows"])),
        }
    }
}

#[test]
fn a_file_finds_out_whether_it_was_committed() {
    for how in ALL {
        let stage = Stage::new();
        let file = stage.workspace.path().join("dump.sql");
        let source = stage.target.server.existing("source_0");
        let mut dump = stock::program(&source, "pg_dump");
        stock::succeeds(dump.args(["-d", &source.name, "-f"]).arg(&file));
        let before = stage.state();
        let path = file.to_str().expect("paths of tests are text");
        check(how, stage.run(how, &["restore", path, "--to", "dev", "--clean", "--yes"]));
        if how == LostCommit::OnTheWay {
            oracle::assert_same(&before, &stage.state());
        } else {
            assert_eq!(stage.target.value("SELECT count(*) FROM items"), "500");
        }
    }
}
