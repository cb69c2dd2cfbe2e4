//! Pictures as PDF, a page of the picture's size each, with the letters in the file.

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{
    CidFontType, FontFlags, LineCapStyle, LineJoinStyle, SystemInfo, UnicodeCmap,
};
use pdf_writer::{Content, Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

use super::font::{Font, SERIF};
use super::look::{self, Look};
use super::picture::{Anchor, Form, Picture, Point, Shape, Turn};

/// Points, of which PDF has 72 to the inch, in a CSS pixel.
const SCALE: f32 = 0.75;
const FONT: Name<'_> = Name(b"Serif");
/// PDF asks for six letters in front of the name of a font that is not there as a whole.
const FONT_NAME: Name<'_> = Name(b"SUBSET+Tinos");
const FONT_SYSTEM: SystemInfo<'_> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// The file. The same picture gives the same bytes.
pub(crate) fn file(picture: &Picture) -> Vec<u8> {
    let [catalog, tree, page, content, info, font] = [1, 2, 3, 4, 5, 6].map(Ref::new);
    let size = [picture.format.width, picture.height].map(|length| length as f32 * SCALE);
    let mut shapes =
        Shapes { content: Content::new(), opacities: Vec::new(), characters: BTreeSet::new() };
    // From pixels, downwards, to points, upwards.
    shapes.content.transform([SCALE, 0.0, 0.0, -SCALE, 0.0, size[1]]);
    shapes.content.set_line_join(LineJoinStyle::RoundJoin).set_line_cap(LineCapStyle::ButtCap);
    for shape in &picture.shapes {
        shapes.add(shape, picture);
    }
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids([page]).count(1);
    let mut sheet = pdf.page(page);
    sheet.media_box(Rect::new(0.0, 0.0, size[0], size[1])).parent(tree).contents(content);
    let mut resources = sheet.resources();
    resources.fonts().pair(FONT, font);
    let mut states = resources.ext_g_states();
    for (index, [fill, stroke]) in shapes.opacities.iter().enumerate() {
        let (fill, stroke) = (*fill as f32, *stroke as f32);
        let name = state(index);
        let mut state = states
            .insert(Name(name.as_bytes()))
            .start::<pdf_writer::writers::ExtGraphicsState<'_>>();
        state.non_stroking_alpha(fill).stroking_alpha(stroke);
    }
    states.finish();
    resources.finish();
    sheet.finish();
    let body = shapes.content.finish();
    pdf.stream(content, &compressed(body.as_slice())).filter(Filter::FlateDecode);
    let producer = concat!("atelier ", env!("CARGO_PKG_VERSION"));
    pdf.document_info(info).title(TextStr(&picture.title)).producer(TextStr(producer));
    write_font(&mut pdf, font, &shapes.characters);
    pdf.finish()
}

/// What shapes come to.
struct Shapes {
    content: Content,
    /// Pairs of opacities, of fills and strokes, by the number of their state.
    opacities: Vec<[f64; 2]>,
    /// All that is written.
    characters: BTreeSet<char>,
}

/// The name of a pair of opacities.
fn state(index: usize) -> String {
    format!("O{index}")
}

impl Shapes {
    fn add(&mut self, shape: &Shape, picture: &Picture) {
        let look = look::look(&shape.class);
        let fills = look.fill.is_some() && !matches!(shape.form, Form::Polyline(_));
        if !fills && look.stroke.is_none() {
            return;
        }
        self.content.save_state();
        self.set(&look);
        match &shape.form {
            Form::Text { at, anchor, turn, text } => {
                let size = look::text_size(&shape.class, picture.format.medium);
                let width = picture.text_width(&shape.class, text);
                let before = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => width / 2.0,
                    Anchor::End => width,
                };
                self.text(*at, before, size, *turn, text);
                self.content.restore_state();
                return;
            }
            Form::Polyline(points) => self.path(points),
            Form::Polygon(points) => {
                self.path(points);
                self.content.close_path();
            }
            Form::Rect { corner: [x, y], size: [w, h] } => {
                let [x, y, w, h] = [*x, *y, *w, *h].map(|length| length as f32);
                self.content.rect(x, y, w, h);
            }
            Form::Circle { centre, radius } => self.circle(*centre, *radius),
        }
        match (fills, look.stroke.is_some()) {
            (true, true) => self.content.fill_nonzero_and_stroke(),
            (true, false) => self.content.fill_nonzero(),
            _ => self.content.stroke(),
        };
        self.content.restore_state();
    }

    fn set(&mut self, look: &Look) {
        if let Some(fill) = look.fill {
            let [r, g, b] = fill.rgb();
            self.content.set_fill_rgb(r, g, b);
        }
        if let Some(stroke) = look.stroke {
            let [r, g, b] = stroke.rgb();
            self.content.set_stroke_rgb(r, g, b).set_line_width(look.width as f32);
        }
        if !look.dash.is_empty() {
            self.content.set_dash_pattern(look.dash.iter().map(|part| *part as f32), 0.0);
        }
        let opacity = [look.fill_opacity, look.stroke_opacity];
        if opacity != [1.0, 1.0] {
            let known = self.opacities.iter().position(|other| *other == opacity);
            let index = known.unwrap_or_else(|| {
                self.opacities.push(opacity);
                self.opacities.len() - 1
            });
            self.content.set_parameters(Name(state(index).as_bytes()));
        }
    }

    fn path(&mut self, points: &[Point]) {
        for (index, point) in points.iter().enumerate() {
            let [x, y] = point.map(|length| length as f32);
            if index == 0 {
                self.content.move_to(x, y);
            } else {
                self.content.line_to(x, y);
            }
        }
    }

    fn circle(&mut self, [x, y]: Point, radius: f64) {
        // The control points of the cubic curves that come closest to a circle's quarters.
        let bend = 0.552_284_75 * radius;
        let at = |dx: f64, dy: f64| [(x + dx) as f32, (y + dy) as f32];
        let [right, top] = [at(radius, 0.0), at(0.0, radius)];
        self.content.move_to(right[0], right[1]);
        let quarters = [
            (at(radius, bend), at(bend, radius), top),
            (at(-bend, radius), at(-radius, bend), at(-radius, 0.0)),
            (at(-radius, -bend), at(-bend, -radius), at(0.0, -radius)),
            (at(bend, -radius), at(radius, -bend), right),
        ];
        for ([x1, y1], [x2, y2], [x3, y3]) in quarters {
            self.content.cubic_to(x1, y1, x2, y2, x3, y3);
        }
        self.content.close_path();
    }

    /// A text that begins so far before its point.
    fn text(&mut self, [x, y]: Point, before: f64, size: f64, turn: Turn, text: &str) {
        let font = Font::serif();
        let glyphs: Vec<u8> = text.chars().flat_map(|c| font.glyph(c).to_be_bytes()).collect();
        self.characters.extend(text.chars());
        // The page is upside down, and letters are to stand upright.
        let matrix = match turn {
            Turn::Rightwards => [1.0, 0.0, 0.0, -1.0, (x - before) as f32, y as f32],
            Turn::Upwards => [0.0, -1.0, -1.0, 0.0, x as f32, (y + before) as f32],
        };
        self.content.begin_text().set_font(FONT, size as f32).set_text_matrix(matrix);
        self.content.show(Str(&glyphs)).end_text();
    }
}

/// The font, and what its glyphs mean, so that text can be searched and copied.
fn write_font(pdf: &mut Pdf, font: Ref, characters: &BTreeSet<char>) {
    let [cid, descriptor, cmap, data] = [7, 8, 9, 10].map(Ref::new);
    let metrics = Font::serif();
    pdf.type0_font(font)
        .base_font(FONT_NAME)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(cmap);
    let mut face = pdf.cid_font(cid);
    face.subtype(CidFontType::Type2).base_font(FONT_NAME).system_info(FONT_SYSTEM);
    face.font_descriptor(descriptor).cid_to_gid_map_predefined(Name(b"Identity"));
    let widths = metrics.advances.iter().map(|advance| (1000.0 * advance) as f32);
    face.widths().consecutive(0, widths);
    face.finish();
    // From the font's own tables, in thousandths of an em.
    pdf.font_descriptor(descriptor)
        .name(FONT_NAME)
        .flags(FontFlags::SERIF | FontFlags::NON_SYMBOLIC)
        .bbox(Rect::new(-544.0, -389.0, 2797.0, 1010.0))
        .italic_angle(0.0)
        .ascent(891.0)
        .descent(-216.0)
        .cap_height(655.0)
        .stem_v(80.0)
        .font_file2(data);
    let mut meaning = UnicodeCmap::new(Name(b"Meaning"), FONT_SYSTEM);
    for &c in characters {
        meaning.pair(metrics.glyph(c), c);
    }
    pdf.cmap(cmap, meaning.finish().as_slice());
    let length = i32::try_from(SERIF.len()).expect("the committed font is small");
    pdf.stream(data, &compressed(SERIF)).filter(Filter::FlateDecode).pair(Name(b"Length1"), length);
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory does not fail")
}
