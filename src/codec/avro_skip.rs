//! Skipping what a writer added and we don't know, of any schema.
//!
//! What is skipped is still checked: lengths, booleans, UTF-8, enum and union indices. Time is
//! bounded by the bytes skipped and the size of the schema, depth by [`DEPTH_MAX`].

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::NamesRef;

use crate::codec::avro_plain::Plain;
use crate::codec::avro_wire::{Cursor, WireError};
use crate::codec::error::SchemaError;

/// How deep a value to be skipped may be nested.
const DEPTH_MAX: usize = 512;

/// Index of a shape in its [`Shapes`].
pub(crate) type ShapeId = usize;

/// How the bytes of a type are laid out.
#[derive(Debug, Clone)]
enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Fixed(usize),
    Bytes,
    Text,
    Enum(usize),
    Array(ShapeId),
    Map(ShapeId),
    Union(Vec<ShapeId>),
    Record(Vec<ShapeId>),
}

/// The shapes of a writer's schema; named types refer to each other by index, so they may recur.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    shapes: Vec<Shape>,
    /// By shape: every value of it takes no bytes at all.
    is_empty: Vec<bool>,
}

/// Collects the shapes of a schema.
pub(crate) struct ShapesBuilder<'s> {
    names: &'s NamesRef<'s>,
    by_name: BTreeMap<String, ShapeId>,
    shapes: Vec<Shape>,
}

impl<'s> ShapesBuilder<'s> {
    /// `names` are the named types of the whole schema.
    pub(crate) fn new(names: &'s NamesRef<'s>) -> Self {
        Self { names, by_name: BTreeMap::new(), shapes: Vec::new() }
    }

    /// The shape of `schema`.
    pub(crate) fn add(&mut self, schema: &Schema) -> Result<ShapeId, SchemaError> {
        let name = match schema {
            Schema::Ref { name } => name.fullname(None),
            Schema::Record(record) => record.name.fullname(None),
            _ => {
                let shape = self.shape(schema)?;
                return Ok(self.push(shape));
            }
        };
        if let Some(known) = self.by_name.get(&name) {
            return Ok(*known);
        }
        // Taken before the parts are looked at, since a part may refer back to it.
        let id = self.push(Shape::Null);
        self.by_name.insert(name, id);
        self.shapes[id] = self.shape(schema)?;
        Ok(id)
    }

    fn push(&mut self, shape: Shape) -> ShapeId {
        self.shapes.push(shape);
        self.shapes.len() - 1
    }

    fn shape(&mut self, schema: &Schema) -> Result<Shape, SchemaError> {
        Ok(match Plain::of(schema) {
            Plain::Null => Shape::Null,
            Plain::Boolean => Shape::Boolean,
            Plain::Int => Shape::Int,
            Plain::Long => Shape::Long,
            Plain::Float => Shape::Fixed(4),
            Plain::Double => Shape::Fixed(8),
            Plain::Bytes => Shape::Bytes,
            Plain::Text => Shape::Text,
            Plain::Fixed(fixed) => Shape::Fixed(fixed.size),
            Plain::Enum(symbols) => Shape::Enum(symbols.symbols.len()),
            Plain::Array(array) => Shape::Array(self.add(&array.items)?),
            Plain::Map(map) => Shape::Map(self.add(&map.types)?),
            Plain::Union(union) => Shape::Union(self.add_all(union.variants().iter())?),
            Plain::Record(record) => {
                Shape::Record(self.add_all(record.fields.iter().map(|field| &field.schema))?)
            }
            Plain::Ref(name) => {
                let unknown = || SchemaError::Invalid(format!("unknown type {}", name.name()));
                self.shape(self.names.get(name).ok_or_else(unknown)?)?
            }
        })
    }

    fn add_all<'p>(
        &mut self,
        parts: impl Iterator<Item = &'p Schema>,
    ) -> Result<Vec<ShapeId>, SchemaError> {
        parts.map(|part| self.add(part)).collect()
    }

    /// The shapes, ready to skip.
    pub(crate) fn build(self) -> Shapes {
        let mut is_empty = vec![false; self.shapes.len()];
        // A type that is empty by its parts needs them settled first: repeat until nothing changes.
        loop {
            let settled: Vec<bool> = self
                .shapes
                .iter()
                .map(|shape| match shape {
                    Shape::Null | Shape::Fixed(0) => true,
                    Shape::Record(parts) => parts.iter().all(|part| is_empty[*part]),
                    _ => false,
                })
                .collect();
            if settled == is_empty {
                return Shapes { shapes: self.shapes, is_empty };
            }
            is_empty = settled;
        }
    }
}

impl Shapes {
    /// Moves `cursor` behind one value of this shape.
    pub(crate) fn skip(&self, id: ShapeId, cursor: &mut Cursor<'_>) -> Result<(), WireError> {
        self.skip_nested(id, cursor, 0)
    }

    fn skip_nested(
        &self,
        id: ShapeId,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) -> Result<(), WireError> {
        if self.is_empty[id] {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(WireError::Depth);
        }
        match &self.shapes[id] {
            Shape::Null => Ok(()),
            Shape::Boolean => cursor.boolean().map(|_| ()),
            Shape::Int => cursor.int().map(|_| ()),
            Shape::Long => cursor.long().map(|_| ()),
            Shape::Fixed(size) => cursor.take(*size).map(|_| ()),
            Shape::Bytes => cursor.bytes().map(|_| ()),
            Shape::Text => cursor.text().map(|_| ()),
            Shape::Enum(symbols) => cursor.choice(*symbols).map(|_| ()),
            Shape::Union(branches) => {
                let branch = cursor.choice(branches.len())?;
                self.skip_nested(branches[branch], cursor, depth + 1)
            }
            Shape::Record(parts) => {
                parts.iter().try_for_each(|part| self.skip_nested(*part, cursor, depth + 1))
            }
            Shape::Array(item) => self.skip_blocks(*item, cursor, depth, false),
            Shape::Map(value) => self.skip_blocks(*value, cursor, depth, true),
        }
    }

    fn skip_blocks(
        &self,
        item: ShapeId,
        cursor: &mut Cursor<'_>,
        depth: usize,
        has_names: bool,
    ) -> Result<(), WireError> {
        while let Some(block) = cursor.block()? {
            // Items without bytes may be as many as the writer says; there is nothing to skip.
            if has_names || !self.is_empty[item] {
                for _ in 0..block.count {
                    if has_names {
                        cursor.text()?;
                    }
                    self.skip_nested(item, cursor, depth + 1)?;
                }
            }
            cursor.end_block(block)?;
        }
        Ok(())
    }
}
