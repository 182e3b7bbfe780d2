//! Events of evolved writer schemas mean what the Avro library says they mean.
//!
//! Random records of random evolutions of our schema are written by the library, read by it with
//! schema resolution, turned into JSON and decoded as such; our reader must give the same event,
//! or both must refuse.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use ltvstream::codec::avro_event::{BILLING_EVENT_V1, WriterSchema};
use ltvstream::codec::error::DecodeError;
use ltvstream::codec::json_event;
use ltvstream::domain::event::BillingEvent;
use rand::Rng;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

const SCHEMAS: u64 = 1_000;
const RECORDS_PER_SCHEMA: usize = 10;

/// What payments can't do without.
const PAID: [&str; 6] = [
    "gross_micros",
    "currency",
    "transaction_id",
    "original_transaction_id",
    "period",
    "refers_to",
];

type Random = ChaCha8Rng;

#[test]
fn an_evolved_writers_event_is_the_librarys() {
    let ours = Schema::parse_str(BILLING_EVENT_V1).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..SCHEMAS {
        let mut random = Random::seed_from_u64(seed);
        let writer_json = evolved(&mut random).to_string();
        let writer = Schema::parse_str(&writer_json).unwrap();
        let compiled = WriterSchema::parse(&writer_json)
            .unwrap_or_else(|error| panic!("seed {seed}: {error} in {writer_json}"));
        for _ in 0..RECORDS_PER_SCHEMA {
            let value = record(&writer, &mut random);
            let datum = GenericDatumWriter::builder(&writer)
                .maybe_target_block_size(random.random_bool(0.5).then_some(1))
                .build()
                .and_then(|writer| writer.write_value_to_vec(value))
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let json = reference(&writer, &ours, &datum);
            let found = compiled.decode(&datum);
            let expected = json.as_ref().map(|json| json_event::decode(json.as_bytes()));
            agree(seed, &found, &expected);
            if found.is_ok() {
                accepted += 1;
            } else {
                refused += 1;
            }
            for length in 0..datum.len() {
                assert!(compiled.decode(&datum[..length]).is_err(), "seed {seed} cut {length}");
            }
        }
    }
    println!("seeds 0..{SCHEMAS}: {accepted} accepted, {refused} refused");
    assert!(accepted > 2_000 && refused > 500, "{accepted} accepted, {refused} refused");
}

fn agree<'a>(
    seed: u64,
    found: &Result<BillingEvent<'a>, DecodeError>,
    expected: &Result<Result<BillingEvent<'a>, DecodeError>, &String>,
) {
    match (found, expected) {
        (Ok(found), Ok(Ok(expected))) => assert_eq!(found, expected, "seed {seed}"),
        (Err(DecodeError::Field(found)), Ok(Err(DecodeError::Field(expected)))) => {
            // Of several faults, an instant that no i64 holds is found while reading.
            let first = found.code() == expected.code() || found.field.ends_with("_at");
            assert!(first, "seed {seed}: ours {found}, the library's {expected}");
        }
        (Err(_), Ok(Err(_)) | Err(_)) => (),
        _ => panic!("seed {seed}: ours {found:?}, the library's {expected:?}"),
    }
}

/// What the library reads, as JSON, or why it refuses.
fn reference(writer: &Schema, ours: &Schema, datum: &[u8]) -> Result<String, String> {
    let mut rest = datum;
    let reader = GenericDatumReader::builder(writer).build().unwrap();
    let Ok(Value::Record(fields)) = reader.read_value(&mut rest) else { panic!("not a record") };
    assert!(rest.is_empty());
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name, micros(value)))
        // Beyond the specification: nothing in a field of ours that is not nullable is its default.
        .filter(|(name, value)| {
            !(matches!(name.as_str(), "environment" | "attributes") && is_nothing(value))
        })
        .collect();
    let resolved = Value::Record(fields).resolve(ours).map_err(|error| error.to_string())?;
    let Value::Record(fields) = resolved else { panic!("not a record") };
    let object = fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
    Ok(Json::Object(object).to_string())
}

/// The library does not turn milliseconds into microseconds.
fn micros(value: Value) -> Value {
    match value {
        Value::TimestampMillis(millis) => {
            Value::TimestampMicros(millis.checked_mul(1000).unwrap_or(i64::MAX))
        }
        Value::Union(index, inner) => Value::Union(index, Box::new(micros(*inner))),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Union(_, inner) => is_nothing(inner),
        _ => false,
    }
}

fn plain(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Union(_, inner) => plain(*inner),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Long(long) | Value::TimestampMicros(long) => json!(long),
        Value::Map(map) => map.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        other => panic!("no field holds {other:?}"),
    }
}

/// Our schema after years of evolution at a writer's.
fn evolved(random: &mut Random) -> Json {
    let mut schema: Json = serde_json::from_str(BILLING_EVENT_V1).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.retain(|field| {
        let kept = if PAID.contains(&field["name"].as_str().unwrap()) { 0.98 } else { 0.8 };
        field.get("default").is_none() || random.random_bool(kept)
    });
    for field in fields.iter_mut() {
        let name = field["name"].as_str().unwrap().to_owned();
        *field = json!({"name": name, "type": evolved_type(&name, &field["type"], random)});
    }
    for extra in 0..random.random_range(0..4) {
        let name = format!("extra_{extra}");
        let schema = foreign_type(&name, 0, random);
        fields.push(json!({"name": name, "type": schema}));
    }
    fields.shuffle(random);
    schema
}

fn evolved_type(name: &str, ours: &Json, random: &mut Random) -> Json {
    let base = match name {
        "kind" => {
            let mut symbols = ours["symbols"].as_array().unwrap().clone();
            symbols.push(json!("gift"));
            symbols.shuffle(random);
            let other = json!({"type": "enum", "name": "Kinds", "symbols": symbols});
            one_of(&[ours.clone(), other, json!("string")], random)
        }
        "environment" => one_of(&[ours.clone(), json!("string")], random),
        "attributes" => {
            let values =
                one_of(&[json!("string"), json!("bytes"), json!(["null", "string"])], random);
            json!({"type": "map", "values": values})
        }
        "occurred_at" | "expires_at" => one_of(
            &[
                json!("long"),
                json!("int"),
                json!({"type": "long", "logicalType": "timestamp-micros"}),
                json!({"type": "long", "logicalType": "timestamp-millis"}),
            ],
            random,
        ),
        "gross_micros" | "proceeds_micros" | "net_micros" => {
            one_of(&[json!("long"), json!("int")], random)
        }
        _ => one_of(&[json!("string"), json!("bytes")], random),
    };
    match random.random_range(0..4) {
        0 => base,
        1 => json!(["null", base]),
        2 => json!([base, "null"]),
        _ => json!(["null", "double", base]),
    }
}

fn one_of(choices: &[Json], random: &mut Random) -> Json {
    choices.choose(random).unwrap().clone()
}

/// Any type; named types get `name` as theirs, so names are unique within the schema.
fn foreign_type(name: &str, depth: u32, random: &mut Random) -> Json {
    let nested =
        |tag: &str, random: &mut Random| foreign_type(&format!("{name}_{tag}"), depth + 1, random);
    match random.random_range(0..if depth < 3 { 15 } else { 9 }) {
        0 => json!("null"),
        1 => json!("boolean"),
        2 => json!("int"),
        3 => json!("long"),
        4 => json!("float"),
        5 => json!("double"),
        6 => json!("bytes"),
        7 => json!("string"),
        8 => json!({"type": "fixed", "name": name, "size": random.random_range(0..5)}),
        9 => json!({"type": "enum", "name": name, "symbols": ["a", "b", "c"]}),
        10 => json!({"type": "array", "items": nested("item", random)}),
        11 => json!({"type": "map", "values": nested("value", random)}),
        12 => json!(["null", {"type": "array", "items": nested("branch", random)}, "string"]),
        13 => json!({"type": "record", "name": name, "fields": [
            {"name": "next", "type": ["null", name]},
            {"name": "children", "type": {"type": "array", "items": name}},
            {"name": "own", "type": nested("own", random)}]}),
        _ => json!({"type": "record", "name": name, "fields": [
            {"name": "one", "type": nested("one", random)},
            {"name": "two", "type": nested("two", random)}]}),
    }
}

/// A record of the writer's schema; mostly an event that makes sense.
fn record(schema: &Schema, random: &mut Random) -> Value {
    let Schema::Record(record) = schema else { panic!("not a record") };
    let names = apache_avro::schema::ResolvedSchema::try_from(schema).unwrap();
    let mut values = Values { names: &names, random, nodes: 0 };
    let field = |field: &apache_avro::schema::RecordField| {
        (field.name.clone(), values.value(&field.name, &field.schema))
    };
    Value::Record(record.fields.iter().map(field).collect())
}

struct Values<'r, 's> {
    names: &'r apache_avro::schema::ResolvedSchema<'s>,
    random: &'r mut Random,
    /// How much was made so far; beyond a limit everything recursive ends.
    nodes: u32,
}

impl Values<'_, '_> {
    fn value(&mut self, field: &str, schema: &Schema) -> Value {
        self.nodes += 1;
        let random = &mut *self.random;
        match schema {
            Schema::Null => Value::Null,
            Schema::Boolean => Value::Boolean(random.random()),
            Schema::Int => Value::Int(i32::try_from(self.integer(field) % 1_000_000_000).unwrap()),
            Schema::Long => Value::Long(self.integer(field)),
            Schema::TimestampMicros => Value::TimestampMicros(self.integer(field)),
            Schema::TimestampMillis => Value::TimestampMillis(self.integer(field)),
            Schema::Float => Value::Float(random.random()),
            Schema::Double => Value::Double(random.random()),
            Schema::Bytes => Value::Bytes(self.text(field).into_bytes()),
            Schema::String => Value::String(self.text(field)),
            Schema::Fixed(fixed) => Value::Fixed(fixed.size, vec![7; fixed.size]),
            Schema::Enum(symbols) => {
                let any = random.random_range(0..symbols.symbols.len());
                let purchase = symbols.symbols.iter().position(|symbol| symbol == "purchase");
                let at = purchase.filter(|_| random.random_bool(0.8)).unwrap_or(any);
                Value::Enum(u32::try_from(at).unwrap(), symbols.symbols[at].clone())
            }
            Schema::Array(array) => {
                let items = 0..self.count();
                Value::Array(items.map(|_| self.value(field, &array.items)).collect())
            }
            Schema::Map(map) => {
                let entries = 0..self.count();
                let entry = |n| (format!("name{n}"), self.value("attributes", &map.types));
                Value::Map(entries.map(entry).collect())
            }
            Schema::Union(union) => {
                let at = self.branch(field, union.variants());
                let value = self.value(field, &union.variants()[at]);
                Value::Union(u32::try_from(at).unwrap(), Box::new(value))
            }
            Schema::Record(record) => {
                let field = |field: &apache_avro::schema::RecordField| {
                    (field.name.clone(), self.value("", &field.schema))
                };
                Value::Record(record.fields.iter().map(field).collect())
            }
            Schema::Ref { name } => {
                let schema = self.names.get_names()[name];
                self.value(field, schema)
            }
            other => panic!("no schema here has {other:?}"),
        }
    }

    fn count(&mut self) -> usize {
        if self.nodes > 200 { 0 } else { self.random.random_range(0..3) }
    }

    /// Rarely a branch that makes no sense for the field.
    fn branch(&mut self, field: &str, variants: &[Schema]) -> usize {
        let null = variants.iter().position(|variant| matches!(variant, Schema::Null)).unwrap();
        let required = ["event_id", "app_id", "customer_id", "kind", "occurred_at"];
        let fit = (0..variants.len())
            .rev()
            .find(|at| *at != null && !matches!(variants[*at], Schema::Double))
            .unwrap_or(null);
        let wild = self.random.random_range(0..400) == 0;
        if wild {
            self.random.random_range(0..variants.len())
        } else if self.nodes > 200 && field.is_empty() {
            null
        } else if required.contains(&field) || PAID.contains(&field) || self.random.random() {
            fit
        } else {
            null
        }
    }

    fn integer(&mut self, field: &str) -> i64 {
        let wild = self.random.random_range(0..100) == 0;
        match field {
            _ if wild => self.random.random(),
            "gross_micros" => self.random.random_range(1_000..1_000_000_000),
            "proceeds_micros" => self.random.random_range(500..1_000),
            "net_micros" => self.random.random_range(0..500),
            _ => self.random.random_range(0..253_402_300_799),
        }
    }

    fn text(&mut self, field: &str) -> String {
        let wild = self.random.random_range(0..200) == 0;
        let choices: &[&str] = match field {
            _ if wild => &["", "\u{7f}", "Zwölf", "日本", "x"],
            "kind" => &["purchase", "renewal", "refund", "purchase", "renewal", "refund", "void"],
            "environment" => &["production", "sandbox", ""],
            "currency" => &["USD", "EUR", "JPY"],
            "reporting_rate" => &["1", "1.0956"],
            "period" => &["P1M", "P1W", "P1Y"],
            "country" => &["DE", "us", "uk"],
            "app_id" => &["acme", "a.b:c-d"],
            _ => &["a", "bc", "äöü", "a value of some length"],
        };
        (*choices.choose(self.random).unwrap()).to_owned()
    }
}
