//! A policy file that changes under an enforcer: what is taken, when, and what stays.

use std::error::Error;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tempfile::TempDir;
use tollgate::watch::{PolicyWatcher, WatchError, WatchEvent, WatchHandle};
use tollgate::{Enforcer, Policy, PolicyError, Reload, VirtualClock};

const HOUR: Duration = Duration::from_secs(3_600);

fn limit(rate: &str) -> String {
    format!("[[limit]]\nname = \"user\"\nkey = [\"user\"]\nrate = \"{rate}\"\n")
}

struct Scene {
    folder: TempDir,
    time: VirtualClock,
    enforcer: Arc<Enforcer>,
}

impl Scene {
    /// An enforcer of no policy, on a clock that stands, and an empty folder.
    fn new() -> Scene {
        let time = VirtualClock::new();
        let enforcer = Enforcer::builder(Policy::new()).clock(time.clock()).build().unwrap();
        Scene { folder: tempfile::tempdir().unwrap(), time, enforcer: Arc::new(enforcer) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path(), text).unwrap();
    }

    fn watcher(&self) -> PolicyWatcher {
        PolicyWatcher::new(self.path(), &self.enforcer)
    }

    /// A watcher that took this text.
    fn watching(&self, text: &str) -> PolicyWatcher {
        self.write(text);
        let mut watcher = self.watcher();
        taken(&mut watcher);
        watcher
    }

    /// How many more this user may send at once.
    fn left(&self, user: &str) -> u64 {
        self.enforcer.peek(&[("user", user)], 0).unwrap().remaining()
    }
}

fn unchanged(watcher: &mut PolicyWatcher) {
    let look = watcher.look();
    assert!(matches!(look, WatchEvent::Unchanged), "{look:?}");
}

fn unsettled(watcher: &mut PolicyWatcher) {
    let look = watcher.look();
    assert!(matches!(look, WatchEvent::Unsettled), "{look:?}");
}

/// Two checks that take the new policy, and one that finds it known.
fn taken(watcher: &mut PolicyWatcher) -> Reload {
    let before = watcher.reloads();
    unsettled(watcher);
    let WatchEvent::Reloaded(reload) = watcher.look() else { panic!("{:?}", watcher.last_error()) };
    unchanged(watcher);
    assert_eq!(watcher.reloads(), before + 1);
    assert!(watcher.last_error().is_none());
    reload
}

/// Two checks that refuse the new policy, and others that do not report it again.
fn failed(watcher: &mut PolicyWatcher) -> Arc<WatchError> {
    let before = (watcher.reloads(), watcher.failures());
    unsettled(watcher);
    let WatchEvent::Failed(error) = watcher.look() else { panic!("it was taken") };
    (0..3).for_each(|_| unchanged(watcher));
    assert_eq!((watcher.reloads(), watcher.failures()), (before.0, before.1 + 1));
    assert_eq!(watcher.last_error(), Some(error.clone()));
    error
}

#[test]
fn a_file_edited_in_place_is_taken_when_it_rests() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    assert_eq!(scene.left("a"), 5);
    scene.write(limit("7/h"));
    let reload = taken(&mut watcher);
    assert_eq!(reload, Reload { kept: 1, fresh: 0, dropped: 0 });
    assert_eq!(scene.left("a"), 7);
    assert_eq!((watcher.reloads(), watcher.failures()), (2, 0));
}

#[test]
fn a_file_renamed_over_is_taken() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    let next = scene.folder.path().join(".next");
    fs::write(&next, limit("6/h")).unwrap();
    unchanged(&mut watcher);
    fs::rename(&next, scene.path()).unwrap();
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 6);
}

/// As Kubernetes mounts a `ConfigMap`: the file is a link into `..data`, which is a link to a folder
/// and is renamed over.
#[cfg(unix)]
#[test]
fn links_are_followed_to_where_they_lead_now() {
    use std::os::unix::fs::symlink;

    let scene = Scene::new();
    let folder = scene.folder.path();
    let publish = |version: &str, rate: &str| {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("policy.toml"), limit(rate)).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    publish("..2026_1", "5/h");
    symlink("..data/policy.toml", scene.path()).unwrap();
    let mut watcher = scene.watcher();
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 5);

    publish("..2026_2", "9/h");
    fs::remove_dir_all(folder.join("..2026_1")).unwrap();
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 9);

    fs::remove_dir_all(folder.join("..2026_2")).unwrap();
    failed(&mut watcher);
    assert_eq!(scene.left("a"), 9);
}

/// Every beginning of this file up to a line's end is a policy, which would admit more.
#[test]
fn a_file_that_is_being_written_is_not_taken() {
    let scene = Scene::new();
    let whole = format!("# The limits\n{}{}", limit("2/h"), limit("1/h").replace("user", "ip"));
    let mut watcher = scene.watching(&limit("5/h"));
    for written in 0..whole.len() {
        scene.write(&whole[..written]);
        unsettled(&mut watcher);
        assert_eq!(scene.left("a"), 5);
    }
    scene.write(&whole);
    let reload = taken(&mut watcher);
    assert_eq!((reload.kept, reload.fresh), (1, 1));
    assert_eq!((watcher.reloads(), watcher.failures()), (2, 0));
}

#[test]
fn a_look_that_sees_something_else_starts_again() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    let (one, two) = (limit("1/h"), limit("2/h"));
    for text in [&one, &two, &one] {
        scene.write(text);
        unsettled(&mut watcher);
    }
    // What is in force is seen in between.
    scene.write(limit("5/h"));
    unchanged(&mut watcher);
    scene.write(&one);
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 1);
}

#[test]
fn a_bad_policy_is_told_once_and_the_old_one_decides() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("2/h"));
    let bad = limit("fast").replace("name", "nam");
    scene.write(&bad);
    let error = failed(&mut watcher);
    let told = error.to_string();
    let path = scene.path();
    assert!(told.starts_with("the policy in force stays: "), "{told}");
    assert!(told.contains(&format!("{} has 2 problems", path.display())), "{told}");
    assert!(told.contains(&format!("\n{}:2:1: ", path.display())), "{told}");
    assert!(told.contains(&format!("\n\n{}:4:8: ", path.display())), "{told}");
    assert!(told.contains("did you mean `name`?"), "{told}");
    assert_eq!(error.path(), path);
    let source = error.source().unwrap().downcast_ref::<PolicyError>().unwrap();
    assert_eq!(source.problems().len(), 2);

    let admitted = (0..5).filter(|_| scene.enforcer.admit(&[("user", "a")], 1).is_ok()).count();
    assert_eq!(admitted, 2);

    // Different content for one check, then the old content again: nothing new.
    scene.write("x");
    unsettled(&mut watcher);
    scene.write(&bad);
    unchanged(&mut watcher);
    assert_eq!(watcher.failures(), 1);
    assert_eq!(scene.enforcer.totals().failed_reloads, 1);

    scene.write(limit("fast"));
    let error = failed(&mut watcher);
    assert!(error.to_string().contains("has 1 problem\n"), "{error}");

    scene.write(limit("3/h"));
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 1);
    assert_eq!((watcher.reloads(), watcher.failures()), (2, 2));
    scene.write(limit("fast"));
    failed(&mut watcher);

    // The same mistake right after another policy is a new one.
    scene.write(limit("4/h"));
    unsettled(&mut watcher);
    assert!(matches!(watcher.look(), WatchEvent::Reloaded(_)));
    scene.write(limit("fast"));
    failed(&mut watcher);
}

#[test]
fn going_back_to_what_is_in_force_mends_it_without_a_reload() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    scene.write("[[limit");
    failed(&mut watcher);
    scene.write(limit("5/h"));
    unchanged(&mut watcher);
    assert_eq!(watcher.last_error(), None);
    assert_eq!((watcher.reloads(), watcher.failures()), (1, 1));
    // It is reported again when it comes back.
    scene.write("[[limit");
    failed(&mut watcher);
}

#[test]
fn a_file_that_is_gone_leaves_the_old_policy_and_may_come_back() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    fs::remove_file(scene.path()).unwrap();
    let error = failed(&mut watcher);
    assert!(error.to_string().contains("policy.toml cannot be read: "), "{error}");
    assert!(error.source().is_none());
    assert_eq!(scene.left("a"), 5);

    scene.write(limit("5/h"));
    unchanged(&mut watcher);
    assert_eq!(watcher.last_error(), None);
    fs::remove_file(scene.path()).unwrap();
    failed(&mut watcher);
    scene.write(limit("8/h"));
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 8);
}

#[test]
fn a_file_that_is_missing_from_the_start_is_waited_for() {
    let scene = Scene::new();
    let mut watcher = scene.watcher();
    failed(&mut watcher);
    scene.write(limit("4/h"));
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 4);
}

#[test]
fn what_can_be_no_policy_file_is_not_taken() {
    const MAX: usize = 4 << 20;
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("5/h"));
    let mut refused = |what: &[u8], why: &str| {
        scene.write(what);
        let error = failed(&mut watcher).to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(scene.left("a"), 5);
    };
    refused(b"", "is empty");
    refused(b" \n\t\n", "is empty");
    refused(b"# \xff", "is not UTF-8 after 2 bytes");
    refused(&vec![b'#'; MAX + 1], "has more than 4194304 bytes");

    // However much larger, it is the same trouble.
    scene.write(vec![b'#'; 3 * MAX]);
    unchanged(&mut watcher);

    scene.write(limit("6/h") + &"#".repeat(MAX - limit("6/h").len()));
    taken(&mut watcher);
    assert_eq!(scene.left("a"), 6);
    scene.write("# Nothing is limited.");
    assert_eq!(taken(&mut watcher).dropped, 1);

    fs::remove_file(scene.path()).unwrap();
    fs::create_dir(scene.path()).unwrap();
    let error = failed(&mut watcher).to_string();
    assert!(error.contains("is no file"), "{error}");
}

/// Which would be read for ever, or not at all.
#[cfg(unix)]
#[test]
fn a_device_is_no_policy_file() {
    let scene = Scene::new();
    let mut watcher = PolicyWatcher::new(Path::new("/dev/zero"), &scene.enforcer);
    let error = failed(&mut watcher).to_string();
    assert!(error.contains("is no file"), "{error}");
}

#[test]
fn what_is_owed_stays_owed() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("10/h"));
    drop(scene.enforcer.admit(&[("user", "a")], 8).unwrap());
    scene.write(limit("9/h"));
    taken(&mut watcher);
    assert_eq!((scene.left("a"), scene.left("b")), (1, 9));
    scene.time.advance(HOUR);
    assert_eq!(scene.left("a"), 9);
}

#[test]
fn the_enforcer_is_not_kept_alive() {
    let scene = Scene::new();
    let mut watcher = scene.watching(&limit("10/h"));
    let Scene { folder: _folder, enforcer, .. } = scene;
    assert_eq!(Arc::strong_count(&enforcer), 1);
    drop(enforcer);
    for _ in 0..2 {
        assert!(matches!(watcher.look(), WatchEvent::Gone));
    }
}

/// Waits for what another thread does, not for ever.
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..200_000_000u64 {
        if is_so() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it did not come to pass");
}

#[test]
fn a_thread_looks_until_it_is_dropped() {
    let scene = Scene::new();
    scene.write(limit("5/h"));
    let watching = scene.watcher().spawn(Duration::ZERO).unwrap();
    until(|| watching.reloads() == 1);
    assert_eq!(scene.left("a"), 5);
    scene.write("[[limit");
    // More than once if the file was seen empty in two checks.
    until(|| watching.failures() >= 1);
    assert!(watching.last_error().is_some());
    assert_eq!(scene.left("a"), 5);
    let next = scene.folder.path().join(".next");
    fs::write(&next, limit("6/h")).unwrap();
    fs::rename(&next, scene.path()).unwrap();
    until(|| watching.reloads() == 2);
    assert_eq!(scene.left("a"), 6);
    assert!(watching.last_error().is_none() && !watching.has_ended());

    assert_eq!(Arc::weak_count(&scene.enforcer), 1);
    drop(watching);
    assert_eq!(Arc::weak_count(&scene.enforcer), 0, "the thread has ended");
}

/// Else this test would take an hour.
#[test]
fn a_thread_that_rests_ends_at_once() {
    let scene = Scene::new();
    for every in [HOUR, Duration::MAX] {
        // Before it looked,
        drop(scene.watcher().spawn(every).unwrap());
        assert_eq!(Arc::weak_count(&scene.enforcer), 0);
        // and when it did: its look is the second.
        let mut watcher = scene.watcher();
        unsettled(&mut watcher);
        let watching = watcher.spawn(every).unwrap();
        until(|| watching.failures() == 1);
        // Most likely it rests by now; if it does not, that is tested less.
        (0..10_000).for_each(|_| std::thread::yield_now());
        drop(watching);
        assert_eq!(Arc::weak_count(&scene.enforcer), 0);
    }
}

#[test]
fn a_thread_ends_when_the_enforcer_is_gone() {
    let Scene { enforcer, folder, .. } = Scene::new();
    let watcher = PolicyWatcher::new(folder.path().join("policy.toml"), &enforcer);
    let watching = watcher.spawn(Duration::ZERO).unwrap();
    until(|| watching.failures() == 1);
    drop(enforcer);
    until(|| watching.has_ended());
    assert_eq!(watching.failures(), 1);
}

/// A waiter that a reload wakes, on the watching thread, may drop what holds that thread.
#[test]
fn a_thread_may_drop_its_own_watching() {
    #[derive(Default)]
    struct Dropper {
        watching: Mutex<Option<WatchHandle>>,
        dropped_on: OnceLock<Option<String>>,
    }
    impl Wake for Dropper {
        fn wake(self: Arc<Self>) {
            let watching = self.watching.lock().unwrap().take();
            drop(watching);
            let _ = self.dropped_on.set(std::thread::current().name().map(str::to_owned));
        }
    }

    let scene = Scene::new();
    let slots = "[[limit]]\nname = \"slots\"\nconcurrent = 1\nwait = \"60s\"\n";
    let watcher = scene.watching(slots);
    let facts: [(&str, &str); 0] = [];
    let permit = scene.enforcer.admit(&facts, 1).unwrap();
    let mut waiting = pin!(scene.enforcer.admit_waiting(&facts, 1));
    let dropper = Arc::<Dropper>::default();
    let waker = Waker::from(dropper.clone());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    *dropper.watching.lock().unwrap() = Some(watcher.spawn(Duration::ZERO).unwrap());
    scene.write(slots.replace("= 1", "= 2"));
    until(|| dropper.dropped_on.get().is_some());
    assert_eq!(dropper.dropped_on.get().unwrap().as_deref(), Some("tollgate-watch"));
    until(|| Arc::weak_count(&scene.enforcer) == 0);
    drop(permit);
}
