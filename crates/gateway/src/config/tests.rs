use super::*;
use proptest::prelude::*;
use scheduling::{Seconds, Steps};
use sha2::Sha256;

const SERVER: &str = "[[server]]\nname = \"a\"\nsteps_per_second = 9.0\n\
                      backend = { kind = \"demo\" }\n";

#[test]
fn the_demo_has_three_servers_of_different_speed() {
    let rates: Vec<_> =
        Config::demo().servers.iter().map(|s| s.steps_per_second.steps_per_second()).collect();
    assert_eq!(rates.len(), 3);
    assert!(rates.is_sorted_by(|a, b| a > b));
}

#[test]
fn the_example_configurations_are_sound() {
    for (file, text) in [
        ("automatic1111.toml", include_str!("../../configurations/automatic1111.toml")),
        ("comfyui.toml", include_str!("../../configurations/comfyui.toml")),
        ("fleet.toml", include_str!("../../configurations/fleet.toml")),
        ("openai.toml", include_str!("../../configurations/openai.toml")),
        ("sdcpp.toml", include_str!("../../configurations/sdcpp.toml")),
    ] {
        Config::parse(file, text).unwrap();
    }
}

#[test]
fn the_page_for_operators_has_a_configuration_of_ten_lines() {
    let page = include_str!("../../../../docs/operators.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let configurations: Vec<_> = blocks.filter(|block| block.contains("[[server]]")).collect();
    let [configuration] = configurations[..] else { panic!("{configurations:?}") };
    assert_eq!(configuration.lines().count(), 10);
    let config = Config::parse("operators.md", configuration).unwrap();
    assert_eq!(config.servers.len(), 2);
}

#[test]
fn wrong_files_are_refused_with_line_key_and_remedy() {
    let check = |text: &str, line: usize, parts: &[&str]| {
        let message = Config::parse("x.toml", text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("x.toml:{line}: ")), "{message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    };
    let with = |rest: &str| format!("{SERVER}{rest}");
    check("", 1, &["[[server]]", "at least one"]);
    check(&with("colour = 1\n"), 5, &["colour", "unknown field", "steps_per_second"]);
    check(&format!("polcy = \"greedy\"\n{SERVER}"), 1, &["polcy", "expected one of", "policy"]);
    check(&format!("policy = \"best\"\n{SERVER}"), 1, &["no such policy", "greedy"]);
    check(&with(SERVER), 6, &["\"a\" is taken"]);
    check(&SERVER.replace("9.0", "-1"), 3, &["steps_per_second", "-1", "0.001 to 1e6"]);
    check(&SERVER.replace("demo", "dalle"), 4, &["dalle", "demo"]);
    check(&SERVER.replace("\"a\"", "\"a b\""), 2, &["a b", "allowed"]);
    check(&format!("seed = 1\nlisten = \"0.0.0.0:80\"\n{SERVER}"), 2, &["loopback", "[[key]]"]);
    check(&format!("listen = 80\n{SERVER}"), 1, &["listen"]);
    check(&with("[limits]\nside = 100\n"), 6, &["side", "100", "multiple of 8"]);
    check(&with("[limits]\nside = 256\n"), 6, &["512", "limits.side", "256"]);
    check(&with("[limits]\nkeep_seconds = -1\n"), 6, &["keep_seconds", "0.001"]);
    check(&with("[limits]\nwaiting = 0\n"), 6, &["limits.waiting", "1 to"]);
    check(&with("[defaults]\npenalty = \"cubic\"\n"), 6, &["cubic", "square_root"]);
    check(&with("[[key]]\nname = \"n\"\nsha256 = \"12\"\n"), 7, &["sha256", "64"]);
    let url = |url: &str| format!("public_url = \"{url}\"\n{SERVER}");
    check(&url("draw.example"), 1, &["`public_url`", "draw.example", "https://draw.example"]);
    check(&url("ftp://draw.example"), 1, &["ftp://draw.example", "allowed"]);
    check(&url("https://draw.example?x=1"), 1, &["allowed"]);
    check(&format!("trusted_proxies = [\"proxy\"]\n{SERVER}"), 1, &["trusted_proxies", "IP"]);
    let origins = |origins: &str| format!("allowed_origins = [{origins}]\n{SERVER}");
    check(&origins("\"*\""), 1, &["`allowed_origins`", "[[key]]"]);
    check(&origins("\"app.example\""), 1, &["app.example", "https://app.example"]);
    check(&origins("\"https://app.example/x\""), 1, &["without a path"]);
    let faces = "[faces.automatic1111]\nsteps = \"most\"\n";
    check(&with(faces), 6, &["steps", "most", "`at_most` or `exactly`"]);
    check(&with("[objective]\ntardiness_weight = -2.0\n"), 6, &["tardiness_weight", "-2"]);
    check("[[server]\n", 1, &["server"]);
    for journal in ["", ":memory:", "file:atelier.db", "file:///x.db?mode=memory", "folder/", ".."]
    {
        let text = format!("seed = 1\njournal = {journal:?}\n{SERVER}");
        check(&text, 2, &["`journal`", journal, "the path of a file"]);
    }
}

#[test]
fn a_byte_order_mark_is_no_fault_and_moves_no_line() {
    let marked = |rest: &str| Config::parse("x.toml", &format!("\u{feff}{SERVER}{rest}"));
    marked("").unwrap();
    let message = marked("colour = 1\n").unwrap_err().to_string();
    assert!(message.starts_with("x.toml:5: `colour = 1`"), "{message}");
}

#[test]
fn messages_do_not_repeat_a_whole_file() {
    let (long, digits) = ("x".repeat(100_000), "1".repeat(300));
    for (text, line) in [
        (format!("{long} = 1\n{SERVER}"), 1),
        (format!("policy = \"{long}\"\n{SERVER}"), 1),
        (SERVER.replace("9.0", &digits), 3),
        (SERVER.replace("9.0", &format!("{digits}.0")), 3),
        (SERVER.replace("\"a\"", &format!("\"{long}\"")), 2),
        (format!("{SERVER}[limits]\nkeep_seconds = {digits}.0\n"), 6),
        (format!("{SERVER}[objective]\ntardiness_weight = {digits}.0\n"), 6),
    ] {
        let message = Config::parse("x.toml", &text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("x.toml:{line}: ")), "{message}");
        assert!(message.len() < 700 && !message.contains(&"1".repeat(150)), "{message}");
    }
}

#[test]
fn what_no_single_key_can_know_is_refused_at_its_line_too() {
    let url = |address: &str| {
        SERVER.replace("kind = \"demo\"", &format!("kind = \"openai\", url = \"{address}\""))
    };
    let key = |name: &str, digit: char| {
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\n", digit.to_string().repeat(64))
    };
    let nested = "[[server]]\nname = \"b\"\nsteps_per_second = 1.0\n[server.backend]\n\
                  kind = \"sdcpp\"\n# a comment\nurl = \"ws://h:1\"\n";
    for (text, line, parts) in [
        (format!("limits.attempts = 0\n{SERVER}"), 1, &["`limits.attempts`", "1 to 100"][..]),
        (
            format!("{SERVER}[limits]\nside = 64\n\n[defaults]\nwidth = 64\nheight = 128\n"),
            10,
            &["`defaults.height`", "128", "`limits.side`", "64"],
        ),
        (
            format!("{SERVER}[limits]\ndue_in_seconds = 5\n"),
            6,
            &["`defaults.due_in_seconds`", "30", "5"],
        ),
        (
            format!("{SERVER}[limits]\ndue_in_seconds = 5\n[defaults]\ndue_in_seconds = 7\n"),
            8,
            &["`defaults.due_in_seconds`", "7", "5"],
        ),
        (format!("{SERVER}[health]\nfailures = 5000\n"), 6, &["`health.failures`", "1 to 1000"]),
        (format!("{SERVER}[objective]\nquality = {{ table = [] }}\n"), 6, &["quality", "point"]),
        (
            format!("{SERVER}[objective]\nquality = {{ table = [[9, 1], [3, 2]] }}\n"),
            6,
            &["quality.table[1]", "ascend"],
        ),
        (
            format!(
                "{SERVER}max_steps = 8\n[objective]\nquality = {{ table = [[9, 1], [30, 2]] }}\n"
            ),
            2,
            &["`max_steps` of \"a\"", "not known", "first point"],
        ),
        (
            format!(
                "{SERVER}[objective]\nquality = {{ logistic = {{ best = 1.0, scale = 1.0, middle = -1.0, power = 1.0 }} }}\n"
            ),
            6,
            &["logistic.middle is -1", "above 0"],
        ),
        (url("ftp://h:1"), 4, &["`server.url`", "ftp://h:1", "http://HOST:PORT or https://"]),
        (url("h:1"), 4, &["`server.url`", "h:1", "http://HOST:PORT"]),
        (format!("{SERVER}{nested}"), 11, &["`server.url`", "ws://h:1"]),
        (url("http://h:1/?a=b"), 4, &["`server.url`", "query", "write http://h:1"]),
        (url("http://h:1/x#y"), 4, &["`server.url`", "fragment", "write http://h:1/x"]),
        (format!("{SERVER}max_pixels = 0\n"), 5, &["`max_pixels`", "\"a\"", "512 × 512"]),
        (format!("{SERVER}max_pixels = 262143\n"), 5, &["262143", "262144"]),
        (
            format!("{SERVER}{}requests_per_minute = 0\n", key("ann", 'a')),
            8,
            &["`requests_per_minute` of \"ann\"", "1 to 1000000"],
        ),
        (format!("{SERVER}{}{}", key("ann", 'a'), key("bob", 'a')), 10, &["\"bob\"", "\"ann\""]),
    ] {
        let message = Config::parse("x.toml", &text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("x.toml:{line}: ")), "{message} in\n{text}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    }
}

#[test]
fn what_is_no_key_has_no_digest() {
    for (text, part) in [
        ("", "KEY was not set"),
        ("\n", "KEY was not set"),
        ("\r\n", "KEY was not set"),
        (" ", "KEY was not set"),
        ("YOUR_KEY", "the words of the manual"),
    ] {
        let digest = Sha256::digest(text);
        let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"));
        let file = format!("{SERVER}[[key]]\nname = \"n\"\nsha256 = \"{hex}\"\n");
        let message = Config::parse("x.toml", &file).unwrap_err().to_string();
        assert!(message.starts_with("x.toml:7: `sha256"), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_server_stands_at_an_address_of_its_own() {
    let pair = |first: &str, second: &str| {
        let server = |name: &str, backend: &str| {
            format!("[[server]]\nname = \"{name}\"\nsteps_per_second = 1.0\nbackend = {backend}\n")
        };
        let backend = |url: &str| format!("{{ kind = \"openai\", url = \"{url}\" }}");
        Config::parse(
            "x.toml",
            &[server("a", &backend(first)), server("b", &backend(second))].concat(),
        )
    };
    for (first, second) in [
        ("http://h:1", "http://h:1"),
        ("http://h:1", "http://H:1/"),
        ("http://h", "http://h:80/"),
        ("https://h:443/x", "https://h/x/"),
        ("http://localhost:1", "http://127.0.0.1:1"),
        ("http://[::1]:1", "http://LOCALHOST:1"),
        ("http://h:1", "http://user:secret@h:1"),
    ] {
        let message = pair(first, second).unwrap_err().to_string();
        assert!(message.starts_with("x.toml:8: `server.url` of \"b\""), "{message}");
        assert!(message.contains("of \"a\" already") && !message.contains("secret"), "{message}");
    }
    for (first, second) in
        [("http://h:1", "http://h:2"), ("http://h:1", "https://h:1"), ("http://h/a", "http://h/b")]
    {
        pair(first, second).unwrap();
    }
}

#[test]
fn credentials_that_would_not_reach_every_call_are_refused_unseen() {
    let check = |backend: &str, remedy: Option<&str>| {
        let text = format!(
            "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\n[server.backend]\n{backend}\n"
        );
        let read = Config::parse("x.toml", &text);
        let Some(remedy) = remedy else { return drop(read.unwrap()) };
        let message = read.unwrap_err().to_string();
        assert!(message.contains(remedy) && !message.contains("hunter2"), "{message}");
    };
    let url = "url = \"http://op:hunter2@h:1\"";
    check(&format!("kind = \"automatic1111\"\n{url}"), Some("login = "));
    check(&format!("kind = \"openai\"\nkey = \"k\"\n{url}"), Some("`key`"));
    check(&format!("kind = \"openai\"\n{url}"), None);
    check(&format!("kind = \"sdcpp\"\n{url}"), None);
    check("kind = \"sdcpp\"\nurl = \"ftp://op:hunter2@h:1\"", Some("http://HOST:PORT"));
    check("kind = \"sdcpp\"\nurl = \"http://op:hunter2@h:port\"", Some("http://HOST:PORT"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        prop_assert!(Config::parse("x.toml", &text).is_err());
    }

    #[test]
    fn damage_never_panics(place in 0..2000usize, patch in ".{0,6}") {
        let mut text = include_str!("../demo.toml").to_string();
        let place = (0..=place % text.len()).rev().find(|&i| text.is_char_boundary(i)).unwrap();
        text.insert_str(place, &patch);
        let _ = Config::parse("x.toml", &text);
    }
}

/// Two models, one server with both.
const FLEET: &str = "[[model]]\nname = \"sd15\"\n[[model]]\nname = \"sdxl\"\nmax_steps = 60\n[[server]]\n\
                     name = \"a\"\nsteps_per_second = 9.0\nbackend = { kind = \"demo\" }\n\
                     models = { sd15 = {}, sdxl = { load_seconds = 9.0, max_steps = 40 } }\n";

#[test]
fn models_come_with_what_the_server_has_and_their_own_bounds() {
    let config = Config::parse("x.toml", FLEET).unwrap();
    let server = config.server(&config.servers[0]);
    let hosting = server.hosting.unwrap();
    assert_eq!((hosting.resident, hosting.models.len()), (1, 2));
    let [sd15, sdxl] = [0, 1].map(|model| *hosting.hosted(scheduling::Model(model)).unwrap());
    assert_eq!((sd15.step_rate, sd15.load), (server.step_rate, Seconds::ZERO));
    assert_eq!((sdxl.load, sdxl.bounds.max.get()), (Seconds::of(9.0), 40));
    assert!(config.objectives().is_empty(), "no model has a quality of its own");
    let turbo = FLEET.replace(
        "max_steps = 60\n",
        "max_steps = 8\n[model.quality]\ntable = [[1, 5.0], [4, 30.0], [8, 31.0]]\n",
    );
    let config = Config::parse("x.toml", &turbo).unwrap();
    let objectives = config.objectives();
    let quality = |model: usize| objectives[model].quality(Steps::new(4).unwrap());
    assert_eq!(quality(1), 30.0);
    assert_eq!(quality(0), config.objective().quality(Steps::new(4).unwrap()));
}

#[test]
fn models_that_do_not_go_together_are_refused() {
    let check = |from: &str, to: &str, line: usize, parts: &[&str]| {
        assert!(FLEET.contains(from), "{from}");
        let text = FLEET.replace(from, to);
        let message = Config::parse("x.toml", &text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("x.toml:{line}: ")), "{to}: {message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    };
    check("\"sdxl\"", "\"flux\"", 4, &["no server hosts model \"flux\"", "[[server]]"]);
    check("sd15 = {}", "sd21 = {}", 2, &["no server hosts model \"sd15\""]);
    check("sd15 = {}", "sd15 = {}, sd21 = {}", 10, &["no model \"sd21\"", "sd15, sdxl"]);
    check("\"sdxl\"", "\"sd15\"", 4, &["\"sd15\" is taken"]);
    check("\"sdxl\"", "\"atelier\"", 4, &["stands for the whole cluster"]);
    check("\"sdxl\"", "\"sd xl\"", 4, &["sd xl", "allowed"]);
    check("models = ", "resident = 0\nmodels = ", 10, &["0 models", "1 or more"]);
    check(
        "models = ",
        "loaded = [\"sd21\"]\nmodels = ",
        10,
        &["\"sd21\" is not hosted there", "sd15"],
    );
    check(
        "models = ",
        "loaded = [\"sd15\", \"sdxl\"]\nmodels = ",
        10,
        &["room for 1", "1 or fewer"],
    );
    let twice = "resident = 2\nloaded = [\"sd15\", \"sd15\"]\nmodels = ";
    check("models = ", twice, 11, &["\"sd15\" is there twice"]);
    check("load_seconds = 9.0", "load_seconds = -1.0", 10, &["load_seconds", "-1"]);
    check("max_steps = 40", "min_steps = 70", 10, &["bounds of model \"sdxl\"", "in common"]);
    check("max_steps = 40", "min_steps = 7, max_steps = 3", 10, &["min_steps", "7", "1 to 3"]);
    check("max_steps = 60", "min_steps = 61\nmax_steps = 60", 3, &["\"sdxl\" is 61", "1 to 60"]);
    check("models = ", "min_steps = 50\nmodels = ", 11, &["model \"sdxl\"", "\"a\"", "in common"]);
    check(
        "models = { sd15 = {}, sdxl = { load_seconds = 9.0, max_steps = 40 } }\n",
        "",
        2,
        &["no server hosts model \"sd15\""],
    );
    check("sd15 = {}", "sd15 = { workflow = \"w\" }", 10, &["workflow", "comfyui"]);
    check(
        "[[model]]\nname = \"sd15\"",
        "[defaults]\nmodel = \"x\"\n[[model]]\nname = \"sd15\"",
        2,
        &["`defaults.model`", "no model \"x\""],
    );
    let openai = "{ kind = \"openai\", url = \"http://h:1\" }";
    check("{ kind = \"demo\" }", openai, 10, &["2 models", "one", "started with"]);
    // A server beside that says nothing of models.
    let other = "[[server]]\nname = \"b\"\nsteps_per_second = 1\nbackend = { kind = \"demo\" }\n";
    let message = Config::parse("x.toml", &format!("{FLEET}{other}")).unwrap_err().to_string();
    assert!(
        message.starts_with("x.toml:12: ") && message.contains("\"b\" hosts no model"),
        "{message}"
    );
    let alone = format!("{SERVER}resident = 1\n");
    let message = Config::parse("x.toml", &alone).unwrap_err().to_string();
    assert!(message.contains("beside `models` only"), "{message}");
    // One workflow draws everything alike, unless it takes the checkpoint.
    let inputs = "prompt = \"6.text\", seed = \"3.seed\", steps = \"3.steps\", width = \"5.width\", \
                  height = \"5.height\"";
    let comfyui = |workflow: &str, inputs: &str| {
        let backend = format!(
            "{{ kind = \"comfyui\", url = \"http://h:1\"{workflow}, inputs = {{ {inputs} }} }}"
        );
        let parsed = Config::parse("x.toml", &FLEET.replace("{ kind = \"demo\" }", &backend));
        parsed.map(|_| ()).map_err(|error| error.to_string())
    };
    let shared = ", workflow = \"w.json\"";
    let message = comfyui(shared, inputs).unwrap_err();
    assert!(message.contains("alike") && message.contains("checkpoint"), "{message}");
    let message = comfyui("", inputs).unwrap_err();
    assert!(message.contains("missing for model \"sd15\""), "{message}");
    comfyui(shared, &format!("{inputs}, checkpoint = \"4.ckpt_name\"")).unwrap();
}

/// What connecting says to a backend with these lines.
fn connected(lines: &str) -> Result<(), String> {
    let text = format!(
        "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\n[server.backend]\nurl = \"http://h:1\"\n{lines}\n"
    );
    let config = Config::parse("x.toml", &text).map_err(|error| error.to_string())?;
    super::connect(&config.servers[0], &config).map(drop).map_err(|error| error.to_string())
}

#[test]
fn secrets_come_from_files_and_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let path = file.display();
    let openai = |more: &str| connected(&format!("kind = \"openai\"\n{more}"));
    let refused = |more: &str, line: usize, parts: &[&str]| {
        let error = openai(more).unwrap_err();
        assert!(error.starts_with(&format!("x.toml:{line}: ")), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error} does not contain {part}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    };
    std::fs::write(&file, "hunter2\nand a remark\n").unwrap();
    openai(&format!("key_file = \"{path}\"")).unwrap();
    // Set for every test.
    openai("key = \"sk-${CARGO_MANIFEST_DIR}\"").unwrap();
    connected(&format!("kind = \"automatic1111\"\nlogin_file = \"{path}\"")).unwrap();
    refused("key = \"${ATELIER_NO_SUCH}\"", 7, &["ATELIER_NO_SUCH", "environment"]);
    let both = format!("key = \"hunter2\"\nkey_file = \"{path}\"");
    refused(&both, 8, &["beside `key`", "one of them"]);
    refused("key_file = \"no/such/file\"", 7, &["no/such/file"]);
    std::fs::write(&file, "\nhunter2").unwrap();
    refused(&format!("key_file = \"{path}\""), 7, &["first line of", "visible ASCII"]);
    std::fs::write(&file, "hunter2\u{1}").unwrap();
    refused(&format!("key_file = \"{path}\""), 7, &["visible ASCII"]);
    refused("key = \"\"", 7, &["`server.0.backend.key`", "visible ASCII"]);
}

#[test]
fn what_a_cluster_needs_is_said_at_its_line() {
    let good = r#"
[cluster]
nats = ["tls://10.0.0.1:4222"]
cell = "gpu"
name = "n1"
nkey_file = "node.nk"
ca_file = "ca.pem"
monitor = ["http://10.0.0.1:8222"]
[[server]]
name = "s1"
steps_per_second = 1.0
backend = { kind = "agent" }
"#;
    let check = |from: &str, to: &str, problem: &str| {
        assert!(good.contains(from), "{from}");
        let error =
            Config::parse("x.toml", &good.replacen(from, to, 1)).err().map(|e| e.to_string());
        match error {
            None => assert_eq!(problem, "", "{to}"),
            Some(error) => assert!(!problem.is_empty() && error.contains(problem), "{to}: {error}"),
        }
    };
    check("gpu", "gpu", "");
    check("\"gpu\"", "\"g.u\"", "x.toml:4: `cluster.cell`: \"g.u\"");
    check("\"n1\"", "\"\"", "x.toml:5: `cluster.name`");
    check("\"s1\"", "\"s.1\"", "x.toml:10: `name`: \"s.1\"");
    check("cell =", "replicas = 2\ncell =", "`cluster.replicas` is 2: allowed is 1, 3 or 5");
    check("cell =", "lease_seconds = 0.1\ncell =", "`cluster.lease_seconds` is 0.1");
    check("cell =", "role = \"boss\"\ncell =", "role");
    check("tls://10.0.0.1:4222", "10.0.0.1:4222", "x.toml:3: `cluster.nats`");
    check("http://10.0.0.1:8222", "tls://10.0.0.1:8222", "`cluster.monitor`");
    check("[\"http://10.0.0.1:8222\"]", "[]", "`cluster.monitor` is empty");
    let alone = good.split_once("[[server]]").unwrap().1;
    let alone = Config::parse("x.toml", &format!("[[server]]{alone}")).unwrap_err().to_string();
    assert!(
        alone.contains("x.toml:4: `backend` of \"s1\"") && alone.contains("[cluster]"),
        "{alone}"
    );
    let config = Config::parse("x.toml", good).unwrap();
    let moved = Config::parse("x.toml", &format!("\n\n{good}")).unwrap();
    config.check_successor(&moved).unwrap();
    let other = Config::parse("x.toml", &good.replace("\"n1\"", "\"n2\"")).unwrap();
    let refused = config.check_successor(&other).unwrap_err().to_string();
    assert!(refused.contains("takes a restart"), "{refused}");
}

#[test]
fn an_agent_has_the_servers_that_it_names() {
    let good = r#"
name = "berlin"
[cluster]
nats = ["tls://10.0.0.1:4222"]
cell = "gpu"
nkey_file = "agent.nk"
ca_file = "ca.pem"
[[server]]
name = "s1"
steps_per_second = 1.0
backend = { kind = "demo" }
"#;
    let config = AgentConfig::parse("a.toml", good).unwrap();
    assert_eq!(config.gateway().servers.len(), 1);
    for (from, to, problem) in [
        ("\"demo\"", "\"agent\"", "a.toml:11: `backend` of \"s1\": this is its agent"),
        ("name = \"berlin\"", "nam = \"berlin\"", "a.toml:2"),
        ("steps_per_second = 1.0", "steps_per_second = 0.0", "a.toml:10"),
    ] {
        let error = AgentConfig::parse("a.toml", &good.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
    let none = good.split_once("[[server]]").unwrap().0;
    let error = AgentConfig::parse("a.toml", none).unwrap_err().to_string();
    assert!(error.contains("there is no [[server]]"), "{error}");
}
