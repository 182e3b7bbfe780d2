//! Events in JSON as the OpenAPI document describes them: by the Avro schema, of which the JSON form has the names.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::codec::avro_event::BILLING_EVENT_V1;

/// One event, for the document only.
pub struct EventInJson;

/// What a body of JSON holds, for the document only.
pub struct EventsInJson;

impl ToSchema for EventInJson {
    fn name() -> Cow<'static, str> {
        "BillingEvent".into()
    }
}

impl PartialSchema for EventInJson {
    fn schema() -> RefOr<Schema> {
        schema(event())
    }
}

impl ToSchema for EventsInJson {
    fn name() -> Cow<'static, str> {
        "BillingEvents".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((EventInJson::name().into_owned(), EventInJson::schema()));
    }
}

impl PartialSchema for EventsInJson {
    fn schema() -> RefOr<Schema> {
        let one = json!({"$ref": "#/components/schemas/BillingEvent"});
        schema(json!({"oneOf": [one, {"type": "array", "items": one}]}))
    }
}

/// Of constants, so that it is one either always or never; a test checks events against it.
fn schema(json: Value) -> RefOr<Schema> {
    serde_json::from_value(json).unwrap_or_else(|_| RefOr::T(Schema::default()))
}

fn event() -> Value {
    let avro: Value = serde_json::from_str(BILLING_EVENT_V1).unwrap_or_default();
    let fields = avro["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let properties = fields.iter().filter_map(|field| {
        let name = field["name"].as_str()?;
        let mut property = property(&field["type"]);
        if let Some(default) = field.get("default") {
            // `null` is as absent.
            property = json!({"oneOf": [{"type": "null"}, property]});
            if !default.is_null() {
                property["default"] = default.clone();
            }
        }
        property["description"] = field["doc"].clone();
        Some((name.to_owned(), property))
    });
    let required = fields.iter().filter(|field| field.get("default").is_none());
    let required: Vec<_> = required.map(|field| &field["name"]).collect();
    json!({
        "type": "object",
        "description": avro["doc"],
        "required": required,
        "properties": properties.collect::<Map<String, Value>>(),
        "additionalProperties": false,
    })
}

/// What a value of this Avro type is in JSON, null aside.
fn property(avro: &Value) -> Value {
    if let Some([Value::String(null), inner]) = avro.as_array().map(Vec::as_slice)
        && null == "null"
    {
        return property(inner);
    }
    if avro["logicalType"] == "timestamp-micros" {
        let micros =
            json!({"type": "integer", "description": "microseconds since 1970-01-01T00:00:00Z"});
        return json!({"oneOf": [{"type": "string", "format": "date-time"}, micros]});
    }
    match avro.as_str().or(avro["type"].as_str()) {
        Some("long") => json!({"type": "integer", "format": "int64"}),
        Some("enum") => json!({"type": "string", "enum": avro["symbols"]}),
        Some("map") => json!({"type": "object", "additionalProperties": property(&avro["values"])}),
        _ => json!({"type": "string"}),
    }
}
