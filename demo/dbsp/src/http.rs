//! As much of Feldera's API as the operator asks for in mode Pipeline, for this one pipeline. It asks for no key.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use crate::samply::{Latest, Profiler};

/// As long as Feldera waits to see whether samply fails at once.
const FIRST_LOOK: Duration = Duration::from_millis(600);
const LONGEST_SECS: u64 = 3600;

#[derive(Clone)]
pub struct Pipeline {
    pub id: String,
    pub name: String,
    pub profiler: Arc<Profiler>,
}

type Parameters = Query<HashMap<String, String>>;

/// In a thread of its own, for as long as the process lives.
pub fn serve(pipeline: Pipeline, listen: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("listens on {}", listener.local_addr()?);
    std::thread::spawn(move || {
        if let Err(error) = actix_web::rt::System::new().block_on(run(pipeline, listener)) {
            eprintln!("the HTTP server ended: {error}");
        }
    });
    Ok(())
}

async fn run(pipeline: Pipeline, listener: TcpListener) -> std::io::Result<()> {
    const PROFILE: &str = "/v0/pipelines/{name}/samply_profile";
    let build = move || {
        App::new()
            .app_data(Data::new(pipeline.clone()))
            .route("/v0/pipelines", web::get().to(list))
            .route("/v0/pipelines/{name}", web::get().to(describe))
            .route("/v0/pipelines/{name}/stats", web::get().to(tell_stats))
            .route(PROFILE, web::post().to(start))
            .route(PROFILE, web::get().to(fetch))
    };
    HttpServer::new(build)
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run()
        .await
}

async fn list(pipeline: Data<Pipeline>) -> HttpResponse {
    HttpResponse::Ok().json([pipeline.render()])
}

async fn describe(pipeline: Data<Pipeline>, name: Path<String>) -> HttpResponse {
    match pipeline.check(&name) {
        Some(refusal) => refusal,
        None => HttpResponse::Ok().json(pipeline.render()),
    }
}

async fn tell_stats(pipeline: Data<Pipeline>, name: Path<String>) -> HttpResponse {
    match (pipeline.check(&name), read_cpu_msecs()) {
        (Some(refusal), _) => refusal,
        (None, Some(msecs)) => {
            HttpResponse::Ok().json(json!({"global_metrics": {"cpu_msecs": msecs}}))
        }
        (None, None) => fail("/proc/self/stat is not as it is known here"),
    }
}

/// CPU time of all threads since the start, in ticks of 10 ms.
fn read_cpu_msecs() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(10 * (ticks(11)? + ticks(12)?))
}

async fn start(pipeline: Data<Pipeline>, name: Path<String>, query: Parameters) -> HttpResponse {
    if let Some(refusal) = pipeline.check(&name) {
        return refusal;
    }
    let wanted = query.get("duration_secs").map_or("30", String::as_str);
    let Some(duration) = parse_duration(wanted) else {
        let message = format!("duration_secs is 1 to {LONGEST_SECS}, not {wanted:?}");
        return refuse(StatusCode::BAD_REQUEST, "InvalidParam", &message);
    };
    let profiler = Arc::clone(&pipeline.profiler);
    if !profiler.claim(duration) {
        return refuse(
            StatusCode::CONFLICT,
            "SamplyProfilingInProgress",
            "one is in progress",
        );
    }
    std::thread::spawn(move || profiler.run(duration));
    actix_web::rt::time::sleep(FIRST_LOOK.min(duration)).await;
    match pipeline.profiler.find(true) {
        Latest::Ended(Err(problem)) => fail(&problem),
        _ => HttpResponse::Accepted().finish(),
    }
}

async fn fetch(pipeline: Data<Pipeline>, name: Path<String>, query: Parameters) -> HttpResponse {
    if let Some(refusal) = pipeline.check(&name) {
        return refusal;
    }
    let newest = query.get("latest").is_some_and(|text| text == "true");
    match pipeline.profiler.find(newest) {
        Latest::Never => {
            let message = "there is no profile yet: ask for one with POST";
            refuse(StatusCode::BAD_REQUEST, "NoSamplyProfile", message)
        }
        Latest::InProgress(left) => HttpResponse::NoContent()
            .insert_header(("Retry-After", (left.as_secs() + 1).to_string()))
            .finish(),
        Latest::Ended(Err(problem)) => fail(&problem),
        Latest::Ended(Ok(bytes)) => HttpResponse::Ok()
            .content_type("application/gzip")
            .insert_header((
                "Content-Disposition",
                "attachment; filename=\"samply_profile.json.gz\"",
            ))
            .body(Bytes::from(bytes)),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let secs = text.parse().ok()?;
    (1..=LONGEST_SECS)
        .contains(&secs)
        .then(|| Duration::from_secs(secs))
}

impl Pipeline {
    /// The refusal of a name that is not this pipeline's.
    fn check(&self, name: &str) -> Option<HttpResponse> {
        let message = format!("Unknown pipeline name '{name}'");
        (name != self.name).then(|| refuse(StatusCode::NOT_FOUND, "UnknownPipelineName", &message))
    }

    fn render(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": "",
            "version": 1,
            "program_version": 1,
            "program_status": "Success",
            "platform_version": "0.349.0",
            "deployment_id": self.id,
            "deployment_status": "Running",
            "deployment_desired_status": "Running",
        })
    }
}

fn fail(problem: &str) -> HttpResponse {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    refuse(status, "SamplyProfilingFailure", problem)
}

fn refuse(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"message": message, "error_code": code, "details": {}}))
}
