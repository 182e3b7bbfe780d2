//! The OpenAPI document: complete, well formed, and true.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http_support::{ACME, Service, Setup, adapty, events, settings};

async fn document() -> Value {
    Service::new(Setup::default()).ask("/openapi.json").await
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path.clone(), method.clone(), operation.clone()));
        }
    }
    all
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                found.insert(target.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => (),
    }
}

#[tokio::test]
async fn every_route_is_described() {
    let document = document().await;
    let described: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, ltvstream::http::paths().into_iter().collect());
}

#[tokio::test]
async fn the_document_is_openapi_3_1() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
        let in_path: BTreeSet<String> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}').map(str::to_owned))
            .collect();
        let empty = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&empty);
        let mut names = BTreeSet::new();
        let mut declared = BTreeSet::new();
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap().to_owned();
            assert!(parameter["schema"].is_object(), "{path} {name}");
            assert!(parameter["description"].is_string(), "{path} {name}");
            assert!(names.insert(name.clone()), "{path} {name} twice");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{path} {name}");
                declared.insert(name);
            } else {
                assert!(["query", "header"].contains(&parameter["in"].as_str().unwrap()), "{name}");
            }
        }
        assert_eq!(declared, in_path, "{path}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty());
        for (status, response) in responses {
            assert!((100..600).contains(&status.parse::<u16>().unwrap()));
            assert!(response["description"].is_string(), "{path} {status}");
        }
    }
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(!targets.is_empty());
    for target in targets {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for requirement in document["security"].as_array().unwrap() {
        assert!(requirement.as_object().unwrap().keys().all(|name| schemes.contains_key(name)));
    }
}

#[tokio::test]
async fn the_parameters_are_those_that_are_taken() {
    let document = document().await;
    let service = Service::new(crate::http_support::Setup::default());
    for (path, method, operation) in operations(&document) {
        if method != "get" {
            continue;
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let path = path.replace("{app}", "acme").replace("{id}", "A");
            let answer = service.get(&format!("{path}?{name}=~")).await;
            assert!(!answer.text.contains("unknown-parameter"), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn what_a_vendors_path_needs_is_required_and_its_headers_are_told() {
    let document = document().await;
    let apps = vec![settings("acme", ACME)];
    let service = Service::new(Setup { apps, ..Setup::default() });
    let mut required = Vec::new();
    for (path, method, operation) in operations(&document) {
        if operation["tags"] != json!(["compatible"]) {
            continue;
        }
        let answer = &operation["responses"]["200"];
        assert!(answer["headers"]["x-ltvstream-ignored"]["schema"].is_object(), "{path}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let concrete = ["{companyId}", "{connectionId}", "{websiteId}"]
            .iter()
            .fold(path.clone(), |path, id| path.replace(id, "acme"))
            .replace("{product}", "assess")
            .replace("{metric}", if path.starts_with("/v1") { "ltv" } else { "orders" });
        let bare = match &*method {
            "get" => service.get(&concrete).await.text,
            _ => String::new(),
        };
        for parameter in in_query {
            let name = parameter["name"].as_str().unwrap();
            let is_required = parameter["required"] == true;
            // ChartMogul names the first only.
            let is_told = bare.contains(&format!("{name} is required")) || name == "end-date";
            assert_eq!(is_required, is_told, "{path} {name}: {bare}");
            required.extend(is_required.then(|| name.to_owned()));
        }
        let has_zone = parameters.iter().any(|parameter| parameter["name"] == "Adapty-Tz");
        assert_eq!(has_zone, path.starts_with("/api/v1/client-api/"), "{path}");
    }
    required.sort();
    let expected =
        ["end-date", "numberOfPeriods", "periodLength", "periodUnit", "reportDate", "start-date"];
    assert_eq!(required, expected);
}

/// Checks an instance against a schema of the document.
pub fn check(document: &Value, schema: &str, instance: &Value) {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{schema}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{} at {}", error, error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{instance:#}");
}

#[tokio::test]
async fn answers_are_as_described() {
    let document = document().await;
    let apps = vec![settings("acme", ACME)];
    let service = Service::fed(Setup { apps, ..Setup::default() }, &adapty()).await;
    let more = events("A refund 2026-01-05 1.00 tx=x\nA void 2026-01-06 - refers_to=A/0");
    let ingest = service.post("application/x-ndjson", format!("{more}{{}}")).await;
    check(&document, "IngestBody", &ingest.json());
    for (path, schema) in [
        ("/v1/apps", "AppsBody"),
        ("/v1/apps/acme/ltv?segment_by=country&anchor=install", "LtvBody"),
        ("/v1/apps/acme/ltv?age=payments", "LtvBody"),
        ("/v1/apps/other/ltv", "LtvBody"),
        ("/v1/apps/acme/revenue?segment_by=store", "RevenueBody"),
        ("/v1/apps/acme/customers/u1", "CustomerBody"),
        ("/v1/apps/acme/customers/A", "CustomerBody"),
        ("/v1/suspended", "SuspendedBody"),
        ("/v1/dead-letters", "DeadLettersBody"),
        ("/readyz", "ReadyBody"),
        ("/v1/metrics/all?start-date=2026-01-01&end-date=2026-01-31", "ChartMogulMetrics"),
    ] {
        check(&document, schema, &service.ask(path).await);
    }
    check(&document, "ChartMogulError", &service.get("/v1/metrics/ltv").await.json());
    let codat = "/data/companies/acme/connections/acme/assess/commerceMetrics/refunds";
    let year = "reportDate=2026-01-31&periodUnit=Year&periodLength=1&numberOfPeriods=2";
    let names = format!("{codat}?{year}&includeDisplayNames=true");
    check(&document, "CodatReport", &service.ask(&names).await);
    check(&document, "CodatReport", &service.ask(&format!("{codat}?{year}")).await);
    check(&document, "CodatError", &service.get(codat).await.json());
    let zenovay = "/api/external/v1/revenue/acme/ltv";
    check(&document, "ZenovayLtv", &service.ask(zenovay).await);
    let wrong = service.get(&format!("{zenovay}?range=1y")).await;
    check(&document, "ZenovayFailure", &wrong.json());
    for path in ["/v1/apps/acme/ltv?x=1", "/nowhere", "/v1/apps/acme/customers/nobody"] {
        check(&document, "Problem", &service.get(path).await.json());
    }
    let mut sent = Vec::new();
    for line in adapty().lines().chain(more.lines()) {
        sent.push(serde_json::from_str(line).unwrap());
        check(&document, "BillingEvent", &sent[sent.len() - 1]);
    }
    sent[0]["occurred_at"] = json!(1_767_225_600_000_000_i64);
    sent[0]["attributes"] = json!({"segment_id": "a"});
    sent[0]["currency"] = Value::Null;
    check(&document, "BillingEvents", &sent[0]);
    check(&document, "BillingEvents", &Value::Array(sent));
    // A schema that everything passes would prove nothing.
    let schema = json!({
        "$ref": "#/components/schemas/BillingEvent", "components": document["components"],
    });
    let with = |name: &str, value: Value| {
        let mut event: Value = serde_json::from_str(adapty().lines().next().unwrap()).unwrap();
        event[name] = value;
        event
    };
    assert!(jsonschema::is_valid(&schema, &with("device_id", Value::Null)));
    for wrong in [
        json!({}),
        with("kind", json!("gift")),
        with("kind", Value::Null),
        with("curency", json!("USD")),
        with("gross_micros", json!("1")),
        with("attributes", json!({"a": 1})),
    ] {
        assert!(!jsonschema::is_valid(&schema, &wrong), "{wrong}");
    }
    let schema = json!({
        "$ref": "#/components/schemas/LtvBody", "components": document["components"],
    });
    assert!(!jsonschema::is_valid(&schema, &json!({"app": "acme"})));
}
