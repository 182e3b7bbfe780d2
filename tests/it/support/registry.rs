//! A schema registry that keeps what is registered, and knows nothing else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Serves until the test ends.
pub struct Registry {
    pub url: String,
    schemas: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let schemas = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&schemas);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &mut kept.lock().unwrap());
            }
        });
        Self { url, schemas }
    }

    /// The id of a schema; ids count from 1.
    pub fn register(&self, schema: &str) -> u32 {
        id_of(schema, &mut self.schemas.lock().unwrap())
    }
}

fn id_of(schema: &str, schemas: &mut Vec<String>) -> u32 {
    let known = schemas.iter().position(|known| known == schema);
    let at = known.unwrap_or_else(|| {
        schemas.push(schema.to_owned());
        schemas.len() - 1
    });
    u32::try_from(at + 1).unwrap()
}

fn answer(mut stream: &TcpStream, schemas: &mut Vec<String>) {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, answer) = if request.starts_with("POST /subjects/") {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        (200, json!({"id": id_of(asked["schema"].as_str().unwrap(), schemas)}))
    } else {
        let id = request.strip_prefix("GET /schemas/ids/").unwrap().split(' ').next().unwrap();
        // A number too large for the path is no path that there is.
        match id
            .parse::<i32>()
            .map(|id| usize::try_from(id - 1).ok().and_then(|at| schemas.get(at)))
        {
            Ok(Some(schema)) => (200, json!({"schema": schema})),
            Ok(None) => (404, json!({"error_code": 40403, "message": "Schema not found"})),
            Err(_) => (404, json!({"error_code": 404, "message": "HTTP 404 Not Found"})),
        }
    };
    let text = answer.to_string();
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n");
    write!(stream, "{head}\r\n{text}").unwrap();
}
