//! A samply that the pipeline runs on itself, as Feldera's pipelines do: while it samples, the engine's spans are
//! captured; afterwards they become markers in samply's file. If the file cannot take them, it is handed out without.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use feldera_samply::{AnnotationOptions, Annotations, CaptureOptions};

/// Of captured spans; when it is used up, a marker says so.
const CAPTURE_BYTES: usize = 256 << 20;

pub struct Profiler {
    product: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ends: Option<Instant>,
    last: Option<Result<Vec<u8>, String>>,
}

/// What there is to hand out.
pub enum Latest {
    Never,
    InProgress(Duration),
    Ended(Result<Vec<u8>, String>),
}

impl Profiler {
    /// The file's title will be `product`.
    pub fn new(product: &str) -> Self {
        let state = Mutex::new(State::default());
        Self {
            product: product.to_owned(),
            state,
        }
    }

    /// False: one is in progress.
    pub fn claim(&self, duration: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.ends.is_some() {
            return false;
        }
        state.ends = Some(Instant::now() + duration);
        true
    }

    /// To its end, after a claim. Blocks.
    pub fn run(&self, duration: Duration) {
        let result = record(duration, &self.product);
        if let Err(problem) = &result {
            eprintln!("samply: {problem}");
        }
        let mut state = self.state.lock().unwrap();
        state.last = Some(result);
        state.ends = None;
    }

    /// With `newest`, one that is in progress counts; else the last that ended.
    pub fn find(&self, newest: bool) -> Latest {
        let state = self.state.lock().unwrap();
        match (state.ends, &state.last) {
            (Some(ends), _) if newest => {
                Latest::InProgress(ends.saturating_duration_since(Instant::now()))
            }
            (_, Some(last)) => Latest::Ended(last.clone()),
            (_, None) => Latest::Never,
        }
    }
}

fn record(duration: Duration, product: &str) -> Result<Vec<u8>, String> {
    let file = std::env::temp_dir().join(format!("samply-{}.json.gz", std::process::id()));
    let capture = CaptureOptions::new()
        .with_memory_limit(Some(CAPTURE_BYTES))
        .blocking_start();
    let mut samply = start(&file)?;
    std::thread::sleep(duration);
    interrupt(&samply);
    let annotations = capture.finish();
    wait(&mut samply)?;
    let bytes = std::fs::read(&file).map_err(|error| format!("samply wrote no file: {error}"))?;
    let _ = std::fs::remove_file(&file);
    Ok(annotate(&annotations, bytes, product))
}

fn annotate(annotations: &Annotations, bytes: Vec<u8>, product: &str) -> Vec<u8> {
    let options = AnnotationOptions::new().with_product(Some(product));
    annotations.apply(&bytes, options).unwrap_or_else(|error| {
        eprintln!("samply's file has no place for markers, it is handed out without: {error}");
        bytes
    })
}

fn start(file: &Path) -> Result<Child, String> {
    Command::new("samply")
        .args(["record", "-p", &std::process::id().to_string(), "-o"])
        .arg(file)
        .args(["--save-only", find_symbol_flag()?])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("samply cannot be started: {error}"))
}

/// 0.13.1 calls it by another name, and puts the names into a file of their own.
fn find_symbol_flag() -> Result<&'static str, String> {
    let help = Command::new("samply")
        .args(["record", "--help"])
        .output()
        .map_err(|error| format!("samply cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&help.stdout);
    let is_old = text.contains("--unstable-presymbolicate");
    Ok(if is_old {
        "--unstable-presymbolicate"
    } else {
        "--presymbolicate"
    })
}

fn interrupt(samply: &Child) {
    // SAFETY: kill takes two numbers. The child is not waited for yet, so its number is still its own.
    unsafe { libc::kill(samply.id() as i32, libc::SIGINT) };
}

fn wait(samply: &mut Child) -> Result<(), String> {
    let mut said = String::new();
    if let Some(mut stderr) = samply.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    let status = samply.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("samply: {status}: {}", said.trim()))
    }
}
