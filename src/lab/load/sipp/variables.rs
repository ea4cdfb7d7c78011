//! The variables of a call, and the actions that compute with them.

use super::scenario::Variable;

/// The value of a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What an expression found, or a text.
    Text(Vec<u8>),
    /// A number.
    Number(f64),
    /// The result of a test.
    Truth(bool),
}

/// A value that is written, or that of a variable: 0 or empty if it is of another type, as in SIPp.
#[derive(Debug, Clone, Copy)]
pub enum Operand<T> {
    /// Written.
    Written(T),
    /// Of a variable.
    Of(Variable),
}

/// An operation with the left and the right side.
pub type Operation = fn(f64, f64) -> f64;
/// A relation of the left and the right side.
pub type Relation = fn(&f64, &f64) -> bool;

/// The comparison of a variable.
#[derive(Debug)]
pub enum Comparison {
    /// `<test>`: whether the numbers compare so.
    Numbers(Relation, Operand<f64>),
    /// `<strcmp>`: the order of the texts; 0 if they are equal.
    Texts(Operand<Vec<u8>>),
}

/// An action that computes a variable.
#[derive(Debug)]
pub enum Computation {
    /// `<assign>`, `<add>`, `<subtract>`, `<multiply>`, `<divide>`.
    Arithmetic {
        /// The variable, which is also the left side.
        to: Variable,
        /// The operation.
        operation: Operation,
        /// The right side.
        by: Operand<f64>,
    },
    /// `<todouble>`: the number that a variable spells, if it does.
    ToNumber(Variable, Variable),
    /// `<trim>`.
    Trim(Variable),
    /// `<test>`, `<strcmp>`.
    Compare {
        /// The variable for the result.
        to: Option<Variable>,
        /// The left side.
        of: Variable,
        /// The right side.
        with: Comparison,
        /// Fails the call unless it is true, or equal (`Some(true)`), or if it is (`Some(false)`).
        check: Option<bool>,
    },
}

impl Value {
    /// Whether it lets a jump be taken: a number unless it is 0, the result of a test if it is true.
    pub fn is_set(&self) -> bool {
        match self {
            Value::Text(_) => true,
            Value::Number(number) => *number != 0.0,
            Value::Truth(truth) => *truth,
        }
    }

    /// As it is written into a message.
    pub fn written(&self) -> Vec<u8> {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(number) => format!("{number:.6}").into_bytes(),
            Value::Truth(truth) => truth.to_string().into_bytes(),
        }
    }

    /// The number that it is or spells.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Value::Number(number) => Some(*number),
            Value::Truth(truth) => Some(f64::from(u8::from(*truth))),
        }
    }
}

/// The names and operations of arithmetic.
pub const ARITHMETIC: [(&str, Operation); 5] = [
    ("assign", |_, right| right),
    ("add", |left, right| left + right),
    ("subtract", |left, right| left - right),
    ("multiply", |left, right| left * right),
    ("divide", |left, right| if right == 0.0 { left } else { left / right }),
];

/// The names and comparisons of `<test>`.
pub const COMPARISONS: [(&str, Relation); 6] = [
    ("equal", f64::eq),
    ("not_equal", f64::ne),
    ("greater_than", f64::gt),
    ("less_than", f64::lt),
    ("greater_than_equal", f64::ge),
    ("less_than_equal", f64::le),
];

/// The variables of a call, by index.
#[derive(Debug, Clone, Default)]
pub struct Variables(Vec<Option<Value>>);

impl Variables {
    /// With these values at first.
    pub fn new(initial: &[Option<Value>]) -> Self {
        Variables(initial.to_vec())
    }

    /// The value of a variable.
    pub fn get(&self, at: Variable) -> Option<&Value> {
        self.0.get(at)?.as_ref()
    }

    /// Whether a variable is set.
    pub fn is_set(&self, at: Variable) -> bool {
        self.get(at).is_some_and(Value::is_set)
    }

    /// Sets a variable.
    pub fn set(&mut self, at: Variable, value: Option<Value>) {
        if let Some(variable) = self.0.get_mut(at) {
            *variable = value;
        }
    }

    /// The text of a variable; empty unless it is a text.
    pub fn text(&self, at: Variable) -> &[u8] {
        match self.get(at) {
            Some(Value::Text(text)) => text,
            _ => b"",
        }
    }

    fn number(&self, number: Operand<f64>) -> f64 {
        match number {
            Operand::Written(number) => number,
            Operand::Of(at) => match self.get(at) {
                Some(Value::Number(number)) => *number,
                _ => 0.0,
            },
        }
    }

    /// Computes a variable.
    ///
    /// # Errors
    /// A comparison that is checked has the other result.
    pub fn compute(&mut self, computation: &Computation) -> Result<(), String> {
        match computation {
            Computation::Arithmetic { to, operation, by } => {
                let number = operation(self.number(Operand::Of(*to)), self.number(*by));
                self.set(*to, Some(Value::Number(number)));
            }
            Computation::ToNumber(to, of) => {
                if let Some(number) = self.get(*of).and_then(Value::number) {
                    self.set(*to, Some(Value::Number(number)));
                }
            }
            Computation::Trim(of) => {
                let trimmed = self.text(*of).trim_ascii().to_vec();
                self.set(*of, Some(Value::Text(trimmed)));
            }
            Computation::Compare { to, of, with, check } => {
                let (holds, result, sides) = match with {
                    Comparison::Numbers(compare, right) => {
                        let (left, right) = (self.number(Operand::Of(*of)), self.number(*right));
                        let holds = compare(&left, &right);
                        (holds, Value::Truth(holds), format!("{left} and {right}"))
                    }
                    Comparison::Texts(right) => {
                        let right = match right {
                            Operand::Written(text) => text,
                            Operand::Of(at) => self.text(*at),
                        };
                        let left = self.text(*of);
                        let sides = format!("\"{}\" and \"{}\"", left.escape_ascii(), right.escape_ascii());
                        let order = left.cmp(right);
                        (order.is_eq(), Value::Number(f64::from(order as i8)), sides)
                    }
                };
                if let Some(to) = to {
                    self.set(*to, Some(result));
                }
                if check.is_some_and(|wanted| wanted != holds) {
                    let not = if holds { "" } else { "not " };
                    return Err(format!("the comparison of {sides} does {not}hold"));
                }
            }
        }
        Ok(())
    }
}
