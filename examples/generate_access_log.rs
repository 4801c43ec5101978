//! Writes `examples/access.log`: twenty minutes of a small, invented service, the same in every
//! run.
//!
//! ```text
//! cargo run --example generate_access_log > examples/access.log
//! ```

fn main() {
    print!("{}", access_log());
}

/// The length of the log in seconds.
const LENGTH: u64 = 20 * 60;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15";
const CURL: &str = "curl/8.14.1";
const CRAWLER: &str = "ExampleBot/2.1 (+https://bot.example/about)";

/// The callers. `-` is an unknown user.
struct Client {
    ip: &'static str,
    user: &'static str,
    agent: &'static str,
}

const OFFICE: [Client; 4] = [
    Client { ip: "192.0.2.10", user: "1001", agent: FIREFOX },
    Client { ip: "192.0.2.10", user: "1002", agent: SAFARI },
    Client { ip: "192.0.2.10", user: "1003", agent: FIREFOX },
    Client { ip: "192.0.2.10", user: "1004", agent: CURL },
];
const AT_HOME: [Client; 4] = [
    Client { ip: "198.51.100.4", user: "1017", agent: SAFARI },
    Client { ip: "2001:db8::17", user: "1042", agent: FIREFOX },
    Client { ip: "198.51.100.90", user: "anonymous", agent: SAFARI },
    Client { ip: "198.51.100.91", user: "-", agent: FIREFOX },
];
const SCRIPT: Client = Client { ip: "2001:db8::17", user: "1042", agent: CURL };
const SYNC: Client = Client { ip: "198.51.100.4", user: "1017", agent: CURL };
const HOOKS: Client = Client { ip: "203.0.113.5", user: "-", agent: "hookshot/1.4" };
const GUESSER: Client = Client { ip: "203.0.113.77", user: "-", agent: CURL };
const BANNED: Client = Client { ip: "203.0.113.66", user: "-", agent: CURL };
const NOISE: Client = Client { ip: "203.0.113.99", user: "-", agent: "-" };
const BOT: Client = Client { ip: "203.0.113.20", user: "-", agent: CRAWLER };

const PAGES: [&str; 6] = [
    "GET /api/items?page=1",
    "GET /api/items/17",
    "GET /api/orders?open=true",
    "PUT /api/orders/4",
    "POST /api/orders",
    "GET /",
];

/// Makes the whole log.
pub(crate) fn access_log() -> String {
    let mut log = Log { lines: Vec::new(), random: Random(2026) };

    // People at work.
    for client in OFFICE.iter().chain(&AT_HOME) {
        for _ in 0..22 {
            let (second, page) = (log.random.below(LENGTH), log.random.pick(&PAGES));
            log.request(second, client, page, 200);
        }
    }
    // Everyone in the office opens the same page after lunch: too many requests from one address.
    for index in 0..124 {
        log.request(420 + index / 120, &OFFICE[index as usize % 4], "GET /api/menu", 200);
    }
    // A script of user 1042 without pauses, twice.
    for begin in [300, 900] {
        for index in 0..70 {
            log.request(begin + index / 65, &SCRIPT, &format!("GET /api/items/{index}"), 200);
        }
    }
    // A synchronization that is allowed to do this: the policy has an override for it.
    for index in 0..80 {
        log.request(660, &SYNC, &format!("GET /api/changes?after={index}"), 200);
    }
    // A provider delivers its backlog all at once.
    for index in 0..30 {
        log.request(720 + index / 25, &HOOKS, "POST /webhooks/payments/eu-1", 202);
    }
    for index in 0..12 {
        log.request(60 + 90 * index, &HOOKS, "POST /webhooks/chat/team", 202);
    }
    // An attacker guesses passwords.
    for index in 0..40 {
        log.request(500 + 2 * index, &GUESSER, "POST /login", 401);
    }
    // An address that is always refused.
    for _ in 0..9 {
        let second = log.random.below(LENGTH);
        log.request(second, &BANNED, "GET /api/../../etc/passwd", 400);
    }
    // A crawler that is in a hurry now and then.
    for index in 0..36 {
        log.request(200 + index / 3 * 70, &BOT, &format!("GET /about/{index}"), 200);
    }
    // Exports, which are expensive.
    for index in 0..6 {
        log.request(1000 + 8 * index, &OFFICE[1], "GET /api/orders/export?all", 200);
    }
    // Slow responses are logged when they are done.
    for second in [250, 610] {
        log.write(second + 3, second, &AT_HOME[0], "GET /api/report HTTP/1.1", 200);
    }
    // Bytes that are not a request, with a response all the same.
    log.write(330, 330, &NOISE, r"\x16\x03\x01", 400);
    log.finish()
}

struct Log {
    lines: Vec<(u64, String)>,
    random: Random,
}

impl Log {
    fn request(&mut self, second: u64, client: &Client, request: &str, status: u16) {
        let request = format!("{request} HTTP/1.1");
        self.write(second, second, client, &request, status);
    }

    fn write(&mut self, logged: u64, second: u64, client: &Client, request: &str, status: u16) {
        let Client { ip, user, agent } = client;
        let bytes = 200 + self.random.below(4000);
        let line = format!(
            "{ip} - {user} [{}] \"{request}\" {status} {bytes} \"-\" \"{agent}\"",
            date(second)
        );
        self.lines.push((logged, line));
    }

    /// The lines in the order of logging, with the defects that every real log has.
    fn finish(mut self) -> String {
        self.lines.sort_by_key(|(logged, _)| *logged);
        let mut lines: Vec<String> = self.lines.into_iter().map(|(_, line)| line).collect();
        // A line whose beginning is missing.
        lines.insert(200, format!(" \"{CRAWLER}\""));
        lines.join("\n") + "\n"
    }
}

/// A second of the log as its date.
fn date(second: u64) -> String {
    format!("12/Mar/2026:14:{:02}:{:02} +0100", second / 60, second % 60)
}

/// SplitMix64: a small random number generator, good enough for an example.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}
