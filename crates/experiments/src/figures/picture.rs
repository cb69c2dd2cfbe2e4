//! What is drawn: shapes and text with classes, from back to front. How classes look, and in which
//! kind of file, is for others to say.

use super::format::Format;

/// A position, in CSS pixels; y points down.
pub(crate) type Point = [f64; 2];

/// A picture that grows.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) format: Format,
    pub(crate) height: f64,
    /// What screen readers say.
    pub(crate) title: String,
    pub(crate) shapes: Vec<Shape>,
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Classes of [`super::look`], separated by spaces.
    pub(crate) class: String,
    pub(crate) form: Form,
    /// Shown while the pointer rests on it; empty for none.
    pub(crate) tip: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    Polyline(Vec<Point>),
    Polygon(Vec<Point>),
    Circle { centre: Point, radius: f64 },
    Rect { corner: Point, size: [f64; 2] },
    Text { at: Point, anchor: Anchor, turn: Turn, text: String },
}

/// Which part of a text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Where a text runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Rightwards,
    Upwards,
}

impl Picture {
    /// An empty picture, whose height follows when it is known.
    pub(crate) fn new(format: Format, title: &str) -> Self {
        Self { format, height: 0.0, title: title.into(), shapes: Vec::new() }
    }

    pub(crate) fn line(&mut self, class: &str, from: Point, to: Point) {
        self.push(class, Form::Polyline(vec![from, to]));
    }

    pub(crate) fn polyline(&mut self, class: &str, points: &[Point]) {
        self.push(class, Form::Polyline(points.to_vec()));
    }

    pub(crate) fn polygon(&mut self, class: &str, points: &[Point]) {
        self.push(class, Form::Polygon(points.to_vec()));
    }

    pub(crate) fn circle(&mut self, class: &str, centre: Point, radius: f64) {
        self.push(class, Form::Circle { centre, radius });
    }

    pub(crate) fn rect(&mut self, class: &str, corner: Point, size: [f64; 2]) {
        self.push(class, Form::Rect { corner, size });
    }

    /// A rectangle that says more while the pointer rests on it.
    pub(crate) fn telling_rect(&mut self, class: &str, corner: Point, size: [f64; 2], tip: &str) {
        let (class, form) = (class.to_owned(), Form::Rect { corner, size });
        self.shapes.push(Shape { class, form, tip: tip.to_owned() });
    }

    pub(crate) fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        let text = text.to_owned();
        self.push(class, Form::Text { at, anchor, turn: Turn::Rightwards, text });
    }

    /// Text that reads upwards, centred on its point.
    pub(crate) fn upward_text(&mut self, class: &str, at: Point, text: &str) {
        let (anchor, turn, text) = (Anchor::Middle, Turn::Upwards, text.to_owned());
        self.push(class, Form::Text { at, anchor, turn, text });
    }

    fn push(&mut self, class: &str, form: Form) {
        self.shapes.push(Shape { class: class.to_owned(), form, tip: String::new() });
    }

    /// How wide a text is here.
    pub(crate) fn text_width(&self, class: &str, text: &str) -> f64 {
        self.format.text_width(class, text)
    }
}

impl Shape {
    /// The upper left and the lower right corner of what it covers.
    #[cfg(test)]
    pub(crate) fn bounds(&self, format: Format) -> [Point; 2] {
        match &self.form {
            Form::Polyline(points) | Form::Polygon(points) => {
                let hull = |axis: usize| {
                    points.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], point| {
                        [low.min(point[axis]), high.max(point[axis])]
                    })
                };
                let ([left, right], [top, bottom]) = (hull(0), hull(1));
                [[left, top], [right, bottom]]
            }
            Form::Circle { centre: [x, y], radius: r } => [[x - r, y - r], [x + r, y + r]],
            Form::Rect { corner: [x, y], size: [w, h] } => [[*x, *y], [x + w, y + h]],
            Form::Text { at: [x, y], anchor, turn, text } => {
                let width = format.text_width(&self.class, text);
                let size = super::look::text_size(&self.class, format.medium);
                let before = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => width / 2.0,
                    Anchor::End => width,
                };
                // From the top of capitals to the ends of descenders.
                let (up, down) = (0.7 * size, 0.2 * size);
                match turn {
                    Turn::Rightwards => [[x - before, y - up], [x - before + width, y + down]],
                    Turn::Upwards => [[x - up, y + before - width], [x + down, y + before]],
                }
            }
        }
    }
}
