//! Avro types without their logical types: how values lie on the wire, and what a schema's fingerprint is
//! made of.

use apache_avro::Schema;
use apache_avro::schema::{
    ArraySchema, EnumSchema, FixedSchema, InnerDecimalSchema, MapSchema, Name, RecordSchema,
    UnionSchema, UuidSchema,
};

/// A type that is no logical one.
pub(crate) enum Plain<'s> {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(&'s FixedSchema),
    Enum(&'s EnumSchema),
    Array(&'s ArraySchema),
    Map(&'s MapSchema),
    Union(&'s UnionSchema),
    Record(&'s RecordSchema),
    Ref(&'s Name),
}

impl<'s> Plain<'s> {
    /// The type that a schema is, or annotates.
    pub(crate) fn of(schema: &'s Schema) -> Self {
        match schema {
            Schema::Null => Self::Null,
            Schema::Boolean => Self::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Self::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Long,
            Schema::Float => Self::Float,
            Schema::Double => Self::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Self::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Self::Text,
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Self::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Self::Fixed(fixed),
            },
            Schema::Fixed(fixed)
            | Schema::Duration(fixed)
            | Schema::Uuid(UuidSchema::Fixed(fixed)) => Self::Fixed(fixed),
            Schema::Enum(symbols) => Self::Enum(symbols),
            Schema::Array(array) => Self::Array(array),
            Schema::Map(map) => Self::Map(map),
            Schema::Union(union) => Self::Union(union),
            Schema::Record(record) => Self::Record(record),
            Schema::Ref { name } => Self::Ref(name),
        }
    }
}
