//! A page as a headless Chromium shows it.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A browser that takes longer than this hangs.
const BOUND: Duration = Duration::from_secs(90);

/// The page is in an iframe, since a browser window cannot be as narrow as a telephone.
const WINDOW: &str = r#"<!DOCTYPE html><html style="color-scheme: light dark"><body>
<iframe src="probed.html" width="WIDTH" height="900" style="border: 0"></iframe><pre id="seen"></pre>
<script>
addEventListener("message", (seen) => { document.getElementById("seen").textContent = seen.data; });
</script></body></html>"#;

/// Examines the page from inside, and reports to the outer window what it found.
const PROBE: &str = include_str!("browser/probe.js");

pub(crate) struct Browser(PathBuf);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

impl Browser {
    /// The one that `TOLLGATE_CHROMIUM` names, or one on the path.
    pub(crate) fn find() -> Option<Browser> {
        let named = std::env::var_os("TOLLGATE_CHROMIUM").filter(|named| !named.is_empty());
        if let Some(named) = named {
            return Some(Browser(named.into()));
        }
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut all =
            names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        all.find(|file| file.is_file()).map(Browser)
    }

    /// What the probe sees of a copy of the page in a window so wide.
    pub(crate) fn probe(&self, page: &Path, scheme: Scheme, width: u32) -> Value {
        let html = fs::read_to_string(page).unwrap();
        let end = html.rfind("</body>").expect("a page has a body");
        let folder = page.with_extension(format!("{scheme:?}-{width}"));
        fs::create_dir_all(&folder).unwrap();
        let probed = format!("{}<script>{PROBE}</script>{}", &html[..end], &html[end..]);
        fs::write(folder.join("probed.html"), probed).unwrap();
        let window = folder.join("window.html");
        fs::write(&window, WINDOW.replace("WIDTH", &width.to_string())).unwrap();
        let seen = self.dom(&window, &folder, scheme);
        fs::remove_dir_all(&folder).unwrap();
        let (_, seen) = seen
            .split_once(r#"<pre id="seen">"#)
            .unwrap_or_else(|| panic!("the probe did not run:\n{seen}"));
        let (seen, _) = seen.split_once("</pre>").unwrap();
        let json = seen
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&nbsp;", "\u{a0}")
            .replace("&amp;", "&");
        serde_json::from_str(&json)
            .unwrap_or_else(|error| panic!("the probe tells nothing: {error}"))
    }

    /// The page's elements when its scripts have run.
    fn dom(&self, page: &Path, folder: &Path, scheme: Scheme) -> String {
        let dark = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let browser = Command::new(&self.0)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--dump-dom",
            ])
            .arg(format!("--blink-settings=preferredColorScheme={dark}"))
            .args(["--window-size=1600,1000", "--virtual-time-budget=60000"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // So that all of it can be ended.
            .process_group(0)
            .spawn();
        output(browser.unwrap_or_else(|error| panic!("{}: {error}", self.0.display())), BOUND)
    }
}

/// What a child writes until it ends; one that does not end in time is killed with its children.
fn output(mut child: Child, bound: Duration) -> String {
    let mut stdout = child.stdout.take().unwrap();
    let (tell, told) = mpsc::channel();
    // Not joined: a process that still holds the pipe would block the test.
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text).map(|_| text);
        tell.send(read).ok();
    });
    let text = told.recv_timeout(bound);
    Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", child.id())])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    child.wait().unwrap();
    text.unwrap_or_else(|_| panic!("no answer within {bound:?}")).unwrap()
}

#[test]
#[should_panic(expected = "no answer within")]
fn a_hung_browser_fails_the_test() {
    let hung = Command::new("sh")
        .args(["-c", "sleep 1000; true"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    output(hung.unwrap(), Duration::from_millis(50));
}
