//! Connection strings as people write them, and every way to write a password.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::postgres::settings::{ChannelBinding, Host, SslMode};

#[derive(Default)]
struct Desk {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, (u32, String)>,
}

impl Desk {
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
    fn file(mut self, path: &str, mode: u32, content: &str) -> Self {
        self.files.insert(PathBuf::from(path), (mode, content.to_owned()));
        self
    }
}

impl Surroundings for Desk {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn user(&self) -> Option<String> {
        Some("worker".to_owned())
    }
    fn home(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/home/worker"))
    }
    fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        Ok(self.files.get(path).map(|(_, content)| content.clone()))
    }
    fn mode(&self, path: &Path) -> Option<u32> {
        self.files.get(path).map(|(mode, _)| *mode)
    }
}

fn read(conninfo: &str) -> ConnectionSettings {
    match parse(conninfo, &Desk::default()) {
        Ok(settings) => settings,
        Err(error) => panic!("{conninfo}: {error} {:?} {:?}", error.reason(), error.hints()),
    }
}

fn refusal(conninfo: &str) -> String {
    let error = parse(conninfo, &Desk::default()).expect_err(conninfo);
    assert_eq!(error.kind(), ErrorKind::Usage);
    format!("{error} {:?} {:?} {error:?}", error.reason(), error.hints())
}

fn password(settings: &ConnectionSettings) -> &str {
    settings.password.as_ref().map_or("none", |password| password.expose())
}

fn shown_hosts(settings: &ConnectionSettings) -> String {
    settings.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn urls_and_key_values_say_the_same() {
    for conninfo in [
        "postgres://bob:secret@db.example:6000/shop?sslmode=require&connect_timeout=7&application_name=me",
        "postgresql://bob@db.example/shop?port=6000&password=secret&sslmode=require&connect_timeout=7&application_name=me",
        "host=db.example port=6000 user=bob password=secret dbname=shop sslmode=require connect_timeout=7 application_name=me",
        " host = 'db.example' port='6000'\tuser=bob password = 'secret' dbname=shop sslmode=require connect_timeout=7\napplication_name=me ",
    ] {
        let settings = read(conninfo);
        assert_eq!(shown_hosts(&settings), "db.example:6000");
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("bob", "shop"));
        assert_eq!(password(&settings), "secret");
        assert_eq!(settings.ssl_mode, SslMode::Require);
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(settings.application_name, "me");
        assert!(settings.notes.is_empty(), "{:?}", settings.notes);
    }
}

#[test]
fn nothing_given_means_libpq_defaults() {
    let settings = parse("", &Desk::default().file("/var/run/postgresql", 0o40755, "")).expect("defaults");
    assert_eq!(shown_hosts(&settings), "/var/run/postgresql:5432");
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("worker", "worker"));
    assert_eq!(settings.application_name, "pgstow");
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
    assert_eq!(settings.connect_timeout, None);
    assert_eq!(shown_hosts(&read("")), "/tmp:5432");
}

#[test]
fn variables_fill_what_is_not_given() {
    let desk = Desk::default()
        .variable("PGHOST", "one,two")
        .variable("PGPORT", "6001")
        .variable("PGUSER", "eve")
        .variable("PGPASSWORD", "p:w")
        .variable("PGDATABASE", "d")
        .variable("PGSSLMODE", "disable")
        .variable("PGCONNECT_TIMEOUT", "3")
        .variable("PGAPPNAME", "app")
        .variable("PGOPTIONS", "-c geqo=off")
        .variable("PGREQUIREPEER", "x");
    let settings = parse("", &desk).expect("variables");
    assert_eq!(shown_hosts(&settings), "one:6001 two:6001");
    assert_eq!(
        (settings.user.as_str(), settings.database.as_str(), password(&settings)),
        ("eve", "d", "p:w")
    );
    assert_eq!((settings.ssl_mode, settings.application_name.as_str()), (SslMode::Disable, "app"));
    assert_eq!(settings.options.as_deref(), Some("-c geqo=off"));
    assert_eq!(settings.notes.len(), 1);
    let settings =
        parse("postgres://bob:x@h:1/e?application_name=&fallback_application_name=f", &desk).expect("mixed");
    assert_eq!(shown_hosts(&settings), "h:1");
    assert_eq!((settings.user.as_str(), settings.database.as_str(), password(&settings)), ("bob", "e", "x"));
    assert_eq!(settings.application_name, "f");
}

#[test]
fn hosts_come_in_every_form() {
    for (conninfo, hosts) in [
        ("postgres://u@a:1,b,c:3/d", "a:1 b:5432 c:3"),
        ("postgres://u@a,b/d?port=7", "a:7 b:7"),
        ("postgres://[::1]:7,[2001:db8::1]/d", "[::1]:7 [2001:db8::1]:5432"),
        ("postgres://u:p@%2Fvar%2Frun%2Fx:9/d", "/var/run/x:9"),
        ("postgres:///d?host=/var/lib/x&port=9", "/var/lib/x:9"),
        ("postgres://u:p@/d?host=/a,b", "/a:5432 b:5432"),
        ("postgres://?host=h", "h:5432"),
        ("host=/a,b,c port=1,2,", "/a:1 b:2 c:5432"),
        ("hostaddr=10.0.0.1", "10.0.0.1:5432"),
        ("host=under_score.example-1.com", "under_score.example-1.com:5432"),
    ] {
        assert_eq!(shown_hosts(&read(conninfo)), hosts, "{conninfo}");
    }
    let settings = read("host=name hostaddr=10.1.2.3 user=u");
    let expected = Host::Tcp { host: "name".to_owned(), address: "10.1.2.3".parse().ok(), port: 5432 };
    assert_eq!(settings.hosts, [expected]);
}

#[test]
fn raw_special_characters_in_the_password_are_taken() {
    for raw in [
        "a@b",
        "a#b",
        "a?b",
        "a/b",
        "a:b",
        "a b",
        "50%",
        "%zz",
        "a%",
        "@",
        "#?/@: %",
        "p@ss?word",
        "p@ss/word",
        "a&b=c",
        "postgres://x",
        "ends@",
        "[",
        "]",
        "a,b",
        "ü@ß",
        "\\",
        "'\"",
        "host=x",
        "?sslmode",
        "/?#[]@!$&'()*+,;=",
        "100%ff",
    ] {
        for rest in [
            "h:5432/db",
            "h/db?sslmode=require",
            "h,i:7/db",
            "[::1]:1/db",
            "%2Ftmp/db?application_name=me@work",
        ] {
            let settings = read(&format!("postgres://user:{raw}@{rest}"));
            assert_eq!(password(&settings), raw, "before {rest}");
            assert_eq!(
                (settings.user.as_str(), settings.database.as_str()),
                ("user", "db"),
                "{raw} before {rest}"
            );
        }
    }
}

#[test]
fn valid_escapes_are_decoded_everywhere() {
    let settings =
        read("postgres://us%40er:p%2541%3a%C3%BC@h/d%2Fb?application_name=a%20b&options=-c%20geqo%3Doff");
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("us@er", "d/b"));
    assert_eq!(password(&settings), "p%41:ü");
    assert_eq!(settings.application_name, "a b");
    assert_eq!(settings.options.as_deref(), Some("-c geqo=off"));
}

#[test]
fn quoting_in_key_values_is_libpqs() {
    let settings = read(r"host=h user='' password='it\'s \\ a = #?@' dbname=a\ b");
    assert_eq!(password(&settings), r"it's \ a = #?@");
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("worker", "a b"));
    assert_eq!(password(&read("password=p@:/?# user=u")), "p@:/?#");
}

#[test]
fn parameters_of_other_programs_are_skipped_with_a_note() {
    let settings = read(
        "postgres://u:p@h/d?schema=app&pgbouncer=true&connection_limit=1&sslaccept=accept_invalid_certs&frobnicate=MARKER&ssl_mode=x",
    );
    assert_eq!(settings.schema.as_deref(), Some("app"));
    let notes = settings.notes.join("\n");
    for name in ["pgbouncer", "connection_limit", "sslaccept", "frobnicate", "did you mean sslmode?"] {
        assert!(notes.contains(name), "{notes}");
    }
    assert!(!notes.contains("MARKER") && !notes.contains("accept_invalid_certs"), "{notes}");
    assert!(read("postgres://h/d?keepalives=1&keepalives_idle=30&client_encoding=utf8").notes.is_empty());
}

#[test]
fn what_cannot_be_obeyed_is_refused_by_name() {
    for (conninfo, part) in [
        ("postgres://h/d?sslpassword=x", "openssl pkey"),
        ("host=h sslcrl=x", "sslcrl"),
        ("service=x", "the service x is not defined"),
        ("postgres://h/d?keepalives_idle=soon", "keepalives_idle"),
        ("postgres://h/d?keepalives_idle=32768", "32767"),
        ("postgres://h/d?keepalives_count=128", "127"),
        ("postgres://h/d?tcp_user_timeout=1s", "milliseconds"),
        ("postgres://h/d?sslcertmode=no", "disable, allow, require"),
        ("host=h require_auth=scram-sha-256", "require_auth"),
        ("postgres://h/d?gssencmode=require", "gssencmode"),
        ("postgres://h/d?target_session_attrs=read-write", "target_session_attrs"),
        ("postgres://h/d?sslnegotiation=direct", "sslnegotiation"),
        ("postgres://h/d?sslmode=yes", "verify-full"),
        ("postgres://h/d?channel_binding=yes", "channel_binding"),
        ("postgres://h/d?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgres://h/d?sslmode=verify-ca", "/home/worker/.postgresql/root.crt"),
        ("postgres://h/d?connect_timeout=soon", "connect_timeout"),
        ("postgres://h:99999/d", "port"),
        ("postgres://h:0/d", "port"),
        ("host=a,b port=1,2,3", "3 ports"),
        ("host=a,b hostaddr=10.0.0.1", "hostaddr"),
        ("hostaddr=name", "hostaddr"),
        ("host=h prot=5", "did you mean port?"),
        ("mydatabase", "key=value"),
        ("mysql://u@h/d", "postgres://"),
        ("jdbc:postgresql://h/d?user=x", "jdbc:"),
        ("postgres://[::1/d", "bracket"),
        ("postgres://::1/d", "IPv6"),
        ("postgres://h/d?sslmode", "no value"),
        ("password='open", "no end"),
    ] {
        let shown = refusal(conninfo);
        assert!(shown.contains(part), "{conninfo}: {shown}");
    }
}

#[test]
fn tls_parameters_follow_libpq() {
    let desk = || Desk::default().file("/home/worker/.postgresql/root.crt", 0o100_644, "");
    let settings = parse("host=h sslmode=verify-full", &desk()).expect("settings");
    assert_eq!(settings.ssl_root_cert.as_deref(), Some(Path::new("/home/worker/.postgresql/root.crt")));
    let settings = parse("host=h sslrootcert=/x.pem channel_binding=require", &desk()).expect("settings");
    assert_eq!(settings.ssl_root_cert.as_deref(), Some(Path::new("/x.pem")));
    assert_eq!(settings.channel_binding, ChannelBinding::Require);
    assert_eq!(read("host=h sslrootcert=system").ssl_mode, SslMode::VerifyFull);
    assert_eq!(read("postgres://h/d?ssl=true").ssl_mode, SslMode::Require);
}

#[test]
fn client_certificates_are_libpqs() {
    use crate::postgres::settings::{CertificateMode, ClientCertificate};
    let own = |name: &str| PathBuf::from("/home/worker/.postgresql").join(name);
    let desk = || {
        let files = ["/home/worker/.postgresql/postgresql.crt", "/c.pem"];
        files.iter().fold(Desk::default(), |desk, file| desk.file(file, 0o100_644, ""))
    };
    for (conninfo, expected) in [
        ("host=h", Some((own("postgresql.crt"), own("postgresql.key")))),
        ("host=h sslcert=/c.pem", Some((PathBuf::from("/c.pem"), own("postgresql.key")))),
        ("host=h sslcert=/c.pem sslkey=/k.pem", Some(("/c.pem".into(), "/k.pem".into()))),
        ("postgres://h/d?sslkey=/k.pem", Some((own("postgresql.crt"), "/k.pem".into()))),
        ("host=h sslcert=/missing.pem", None),
        ("host=h sslcertmode=disable", None),
        ("host=h sslmode=disable", None),
    ] {
        let settings = parse(conninfo, &desk()).expect(conninfo);
        let expected = expected.map(|(certificate, key)| ClientCertificate { certificate, key });
        assert_eq!(settings.ssl_client, expected, "{conninfo}");
        let noted = settings.notes.iter().any(|note| note.contains("/missing.pem does not exist"));
        assert_eq!(noted, conninfo.contains("missing"), "{:?}", settings.notes);
    }
    assert_eq!(read("host=h sslcert=").ssl_client, None);
    assert_eq!(read("host=h sslcertmode=require").ssl_cert_mode, CertificateMode::Require);
    assert!(!read("host=h sslsni=0").ssl_server_name && read("host=h").ssl_server_name);
    let from_variables = desk()
        .variable("PGSSLCERT", "/c.pem")
        .variable("PGSSLKEY", "/k")
        .variable("PGSSLCERTMODE", "require");
    let settings = parse("host=h", &from_variables).expect("variables");
    let expected = ClientCertificate { certificate: "/c.pem".into(), key: "/k".into() };
    assert_eq!(settings.ssl_client, Some(expected));
    assert_eq!(settings.ssl_cert_mode, CertificateMode::Require);
}

#[test]
fn keepalives_are_pgstows_own_until_given_and_zero_leaves_them_to_the_system() {
    use crate::postgres::settings::Keepalives;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(read("host=h").keepalives, Keepalives::default());
    let all = "keepalives=1 keepalives_idle=5 keepalives_interval=2 keepalives_count=3 tcp_user_timeout=1500";
    let expected = Keepalives {
        enabled: true,
        idle: seconds(5),
        interval: seconds(2),
        probes: Some(3),
        user_timeout: Some(Duration::from_millis(1500)),
    };
    assert_eq!(read(&format!("host=h {all}")).keepalives, expected);
    assert_eq!(read(&format!("postgres://h/d?{}", all.replace(' ', "&"))).keepalives, expected);
    let none = Keepalives { idle: None, interval: None, probes: None, ..Keepalives::default() };
    let zeros = "keepalives_idle=0 keepalives_interval=-1 keepalives_count=0 tcp_user_timeout=0";
    assert_eq!(read(&format!("host=h {zeros}")).keepalives, none);
    assert!(!read("host=h keepalives=0").keepalives.enabled);
}

const SERVICES: &str = "# databases
[other]
host=wrong
 [ shop ]
host=wrong

[shop]
  host=db.example
port=6000
user=bob
password=p w#'=x\u{20}
host=second
sslmode=require
keepalives_idle=9
[shop]
dbname=wrong
";

#[test]
fn a_service_fills_what_is_not_given_and_wins_over_the_variables() {
    let desk = || {
        let desk = Desk::default().file("/home/worker/.pg_service.conf", 0o100_644, SERVICES);
        desk.variable("PGHOST", "variable")
            .variable("PGDATABASE", "variable")
            .variable("PGSSLMODE", "disable")
    };
    for settings in [
        parse("service=shop", &desk()),
        parse("postgres:///?service=shop", &desk()),
        parse("", &desk().variable("PGSERVICE", "shop")),
        parse("service=shop", &desk().variable("PGSERVICE", "other")),
    ] {
        let settings = settings.expect("a service");
        assert_eq!(shown_hosts(&settings), "db.example:6000");
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("bob", "variable"));
        assert_eq!(password(&settings), "p w#'=x");
        assert_eq!(settings.ssl_mode, SslMode::Require);
        assert_eq!(settings.keepalives.idle, Some(Duration::from_secs(9)));
    }
    let settings = parse("postgres://eve@given:1/d?service=shop&sslmode=", &desk()).expect("a service");
    assert_eq!(shown_hosts(&settings), "given:1");
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("eve", "d"));
    assert_eq!((settings.ssl_mode, password(&settings)), (SslMode::Prefer, "p w#'=x"));
}

#[test]
fn service_files_are_looked_for_where_libpq_does() {
    let section = |host: &str| format!("[shop]\nhost={host}\n");
    let own = || Desk::default().file("/home/worker/.pg_service.conf", 0o100_644, &section("own"));
    let debian = "/etc/postgresql-common/pg_service.conf";
    for (desk, host) in [
        (own().file(debian, 0o100_644, &section("system")), "own"),
        (Desk::default().file(debian, 0o100_644, &section("system")), "system"),
        (
            own().file("/s/pg_service.conf", 0o100_644, &section("system")).variable("PGSYSCONFDIR", "/s"),
            "own",
        ),
        (
            Desk::default()
                .file("/home/worker/.pg_service.conf", 0o100_644, "[another]\nhost=x\n")
                .file("/s/pg_service.conf", 0o100_644, &section("system"))
                .file(debian, 0o100_644, &section("debian"))
                .variable("PGSYSCONFDIR", "/s"),
            "system",
        ),
        (own().file("/named", 0o100_644, &section("named")).variable("PGSERVICEFILE", "/named"), "named"),
        (
            own().file("/named", 0o100_644, "[another]\n").variable("PGSERVICEFILE", "/named").file(
                debian,
                0o100_644,
                &section("system"),
            ),
            "system",
        ),
    ] {
        assert_eq!(shown_hosts(&parse("service=shop", &desk).expect(host)), format!("{host}:5432"));
    }
    let desk = own().file("/named", 0o100_644, &section("named"));
    let settings = parse("service=shop servicefile=/named", &desk.variable("PGSERVICEFILE", "/gone"));
    assert_eq!(shown_hosts(&settings.expect("a file")), "named:5432");
    let gone = own().variable("PGSERVICEFILE", "/gone");
    let error = parse("service=shop", &gone).expect_err("a file that is not there");
    assert!(error.message().contains("/gone does not exist"), "{error}");
}

#[test]
fn a_wrong_service_file_is_refused_by_line_and_without_its_values() {
    for (content, part) in [
        ("[shop]\nhost=h\nhunter2MARKER\n", "/home/worker/.pg_service.conf:3: "),
        ("[shop]\npassword=x\n\nhunter2 MARKER=x\n", ".pg_service.conf:4: "),
        ("[shop]\nhost = h\n", "did you mean host?"),
        ("[shop]\nhots=h\n", "unknown connection parameter hots"),
        ("[shop]\nservice=hunter2MARKER\n", "cannot refer to another one"),
        ("[shop]\nsslcrl=hunter2MARKER\n", "sslcrl cannot be used"),
        ("[shopping]\nhost=hunter2MARKER\n", "it has no section in /home/worker/.pg_service.conf"),
        ("", "the service shop is not defined"),
    ] {
        let desk = Desk::default().file("/home/worker/.pg_service.conf", 0o100_644, content);
        let error = parse("service=shop", &desk).expect_err(content);
        assert_eq!(error.kind(), ErrorKind::Usage, "{content}");
        let shown = format!("{error} {:?} {:?} {error:?}", error.reason(), error.hints());
        assert!(shown.contains(part), "{content}: {shown}");
        assert!(!shown.contains("MARKER"), "{shown}");
    }
}

#[test]
fn a_revocation_list_that_would_be_used_by_libpq_is_named() {
    let desk = Desk::default().file("/home/worker/.postgresql/root.crt", 0o100_644, "").file(
        "/home/worker/.postgresql/root.crl",
        0o100_644,
        "",
    );
    let notes = parse("host=h", &desk).expect("settings").notes;
    assert!(notes.iter().any(|note| note.contains("root.crl")), "{notes:?}");
}

#[test]
fn a_password_file_counts_only_when_it_is_private_and_needed() {
    let content = "h:*:*:*:filed\n";
    let private = Desk::default().file("/home/worker/.pgpass", 0o100_600, content);
    let settings = parse("host=h", &private).expect("settings");
    assert_eq!(settings.password_for(&settings.hosts[0]).expect("password").expose(), "filed");
    assert!(parse("host=h password=x", &private).expect("settings").pass_entries.is_empty());
    let open = Desk::default().file("/home/worker/.pgpass", 0o100_644, content);
    let settings = parse("host=h", &open).expect("settings");
    assert!(settings.pass_entries.is_empty());
    assert!(settings.notes[0].contains("chmod 600"), "{:?}", settings.notes);
    let elsewhere = Desk::default().file("/p", 0o100_600, content).variable("PGPASSFILE", "/p");
    assert_eq!(parse("host=h", &elsewhere).expect("settings").pass_entries.len(), 1);
    assert!(read("host=h passfile=/missing").notes[0].contains("/missing"));
}

/// Every malformed form we can think of, with the marker where a password would stand.
#[test]
fn no_error_or_debug_output_shows_a_password() {
    const MARKER: &str = "hunter2MARKER";
    let templates = [
        "postgres://u:M@h:port/d",
        "postgres://u:M",
        "postgres://u:M@",
        "postgres://u:M@[::1/d",
        "postgres://u:M@h/d?sslmode=bad",
        "postgres://u:M@h/d?x",
        "postgres://u:x M",
        "postgres://u:1?M",
        "postgres://u:1?a=b&M",
        "postgres://u:M/d",
        "postgres://u:M?x=y",
        "postgres//u:M@h/d",
        "postgres:/u:M@h/d",
        "postgress://u:M@h/d",
        "mysql://u:M@h/d",
        "mysql://u:M@h/d?a=b",
        "postgress://u:M@h/d?sslmode=require",
        "u:M@h/d?sslmode=require",
        "postgres://u:1?a:M@=b",
        "jdbc:postgresql://h/d?password=M",
        "//u:M@h",
        "u:M@h/d",
        "M",
        "password=M x",
        "password=x M",
        "password=x M=y",
        "password=x y=M",
        "password='M",
        "password='x' 'M'",
        "password=M port=none",
        "password=M sslmode=bad",
        "password = M service=s",
        "host=h password=M hostaddr=zz",
        "host=a,b port=1,2,3 password=M",
        "postgres://u:M@h/d?password=M&port=x",
        "postgres://u:%zzM@h:-1/d",
        "postgres://h/d?password=M&sslpassword=c",
        "postgres://h/d?sslpassword=M",
        "postgres://h/d?password=M&service=c",
        "postgres://h/d?password=M&M",
    ];
    let mut refused = 0;
    for template in templates {
        let conninfo = template.replace('M', MARKER);
        let shown = match parse(&conninfo, &Desk::default()) {
            Ok(settings) => format!("{:?}", ConnectionSettings { hosts: Vec::new(), ..settings }),
            Err(error) => {
                refused += 1;
                format!("{error} {error:?} {:?} {:?}", error.reason(), error.hints())
            }
        };
        assert!(!shown.contains(MARKER), "{template}: {shown}");
    }
    assert!(refused > 20, "only {refused} of the strings are malformed");
    let desk = Desk::default().file("/home/worker/.pgpass", 0o100_600, "h:*:*:*:hunter2MARKER");
    assert!(!format!("{:?}", parse("host=h", &desk).expect("settings")).contains(MARKER));
}

fn has_escape(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

proptest! {
    #[test]
    fn any_password_survives_a_url_percent_encoded(given in "[^\0]{1,24}") {
        let encoded: String = given.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for rest in ["h:1/d", "h/d?sslmode=disable", "/d?host=/tmp"] {
            let settings = read(&format!("postgres://u:{encoded}@{rest}"));
            prop_assert_eq!(password(&settings), &given);
        }
    }

    #[test]
    fn any_password_survives_a_url_raw(given in "[ -~]{1,24}|[^\0\\s]{1,12}") {
        prop_assume!(!has_escape(&given));
        let settings = read(&format!("postgres://u:{given}@h:1/d?sslmode=disable"));
        prop_assert_eq!(password(&settings), &given);
        prop_assert_eq!(shown_hosts(&settings), "h:1");
    }

    #[test]
    fn any_password_survives_quoting(given in "[^\0]{1,24}") {
        let quoted = given.replace('\\', "\\\\").replace('\'', "\\'");
        let settings = read(&format!("host=h password='{quoted}' user=u"));
        prop_assert_eq!(password(&settings), &given);
    }

    #[test]
    fn no_string_makes_the_parser_panic(given in "(postgres://)?[ -~]{0,40}") {
        let _ = parse(&given, &Desk::default());
    }
}
