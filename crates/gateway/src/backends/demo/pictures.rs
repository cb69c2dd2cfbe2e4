//! The set of pictures that a prompt selects, and its exact denoiser.

use scheduling::{Generator, Purpose};

/// Side of a tile, in pixels.
const TILE: usize = 8;
/// Textures that each tile chooses from.
const TEXTURES: usize = 8;
/// Drawings in a set.
const DRAWINGS: usize = 32;
/// Contrast of the texture by tile; faint textures emerge late.
const CONTRASTS: [f32; 4] = [0.24, 0.12, 0.06, 0.03];

type Colour = [f32; 3];
const COLOURS: [(&str, Colour); 10] = [
    ("red", [0.75, -0.7, -0.7]),
    ("green", [-0.6, 0.5, -0.6]),
    ("blue", [-0.7, -0.5, 0.7]),
    ("yellow", [0.75, 0.65, -0.6]),
    ("orange", [0.75, 0.1, -0.7]),
    ("purple", [0.2, -0.7, 0.5]),
    ("pink", [0.75, 0.1, 0.4]),
    ("white", [0.75, 0.75, 0.75]),
    ("grey", [0.0, 0.0, 0.0]),
    ("black", [-0.75, -0.75, -0.75]),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Ring,
    Cross,
}

const SHAPES: [(&str, Shape); 5] = [
    ("circle", Shape::Circle),
    ("square", Shape::Square),
    ("triangle", Shape::Triangle),
    ("ring", Shape::Ring),
    ("cross", Shape::Cross),
];

/// Pictures, channel values in −1..1: one of 32 drawings, on whose every tile of 8 × 8 pixels one
/// of 8 textures lies. The textures are chosen tile by tile, so the set has 32 · 8^tiles members and
/// yet a denoiser in closed form.
#[derive(Debug)]
pub struct PictureSet {
    width: usize,
    height: usize,
    /// Each `3 · width · height` values.
    drawings: Vec<Vec<f32>>,
    /// Each `TILE · TILE` values of mean square 1.
    textures: [[f32; TILE * TILE]; TEXTURES],
}

impl PictureSet {
    /// The set for a prompt. What the prompt leaves open (colours, shape, always place and size)
    /// varies within the set.
    ///
    /// # Panics
    /// If a side is not a positive multiple of 8.
    pub fn of_prompt(prompt: &str, width: usize, height: usize) -> Self {
        assert!(width > 0 && width.is_multiple_of(TILE));
        assert!(height > 0 && height.is_multiple_of(TILE));
        let wish = Wish::read(prompt);
        let mut generator = Generator::new(0, Purpose::Picture, 0);
        let drawings = (0..DRAWINGS).map(|_| wish.draw(width, height, &mut generator)).collect();
        Self { width, height, drawings, textures: textures() }
    }

    /// Values of a picture: three per pixel, row by row.
    pub fn len(&self) -> usize {
        3 * self.width * self.height
    }

    /// False: there are no pictures without pixels.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// E[x₀ | x_t] for x_t = √ᾱ x₀ + √(1−ᾱ) ε with x₀ uniform over the set: the softmax-weighted
    /// mean of its pictures.
    ///
    /// The weight of a picture is exp(−‖x_t/√ᾱ − picture‖² / 2v) with v = (1−ᾱ)/ᾱ. As the noise of
    /// different pixels is independent, it factorises over the tiles given the drawing.
    pub(crate) fn denoise(&self, noisy: &[f32], alpha_bar: f32) -> Vec<f32> {
        let scale = 1.0 / alpha_bar.sqrt();
        let variance = (1.0 - alpha_bar) / alpha_bar;
        let logs: Vec<f32> = (self.drawings.iter())
            .map(|drawing| {
                self.tiles().map(|tile| self.weigh(noisy, drawing, tile, scale, variance).0).sum()
            })
            .collect();
        let largest = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = logs.iter().map(|log| (log - largest).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut mean = vec![0.0; self.len()];
        for (drawing, weight) in self.drawings.iter().zip(weights) {
            let share = weight / total;
            // What a drawing of less weight adds is below the resolution of the numbers.
            if share > 1e-7 {
                for tile in self.tiles() {
                    let (_, posterior) = self.weigh(noisy, drawing, tile, scale, variance);
                    self.add(&mut mean, drawing, tile, share, &posterior);
                }
            }
        }
        mean
    }

    /// Root of the mean square difference to the nearest picture of the set.
    pub fn distance(&self, picture: &[f32]) -> f64 {
        let squares = self.drawings.iter().map(|drawing| {
            self.tiles().map(|tile| f64::from(self.nearest(picture, drawing, tile))).sum::<f64>()
        });
        (squares.fold(f64::INFINITY, f64::min) / self.len() as f64).sqrt()
    }

    /// The nearest picture of the set: what the denoiser takes a picture for that has hardly any noise.
    pub(super) fn nearest_picture(&self, picture: &[f32]) -> Vec<f32> {
        self.denoise(picture, 1.0 - 1e-6)
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> + use<> {
        let (columns, rows) = (self.width / TILE, self.height / TILE);
        (0..rows).flat_map(move |row| {
            (0..columns).map(move |column| Tile { column, row, stride: columns * TILE })
        })
    }

    /// ‖residual‖² of a tile without its texture, and its product with every texture.
    fn compare(
        &self,
        picture: &[f32],
        drawing: &[f32],
        tile: Tile,
        scale: f32,
    ) -> (f32, [f32; TEXTURES]) {
        let mut square = 0.0;
        let mut light = [0.0; TILE * TILE];
        for row in 0..TILE {
            let start = 3 * tile.pixel(row);
            let (p, d) = (&picture[start..][..3 * TILE], &drawing[start..][..3 * TILE]);
            for column in 0..TILE {
                let residual = |c: usize| p[3 * column + c] * scale - d[3 * column + c];
                let r = [residual(0), residual(1), residual(2)];
                square += r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
                light[row * TILE + column] = r[0] + r[1] + r[2];
            }
        }
        let dot =
            |texture: &[f32; TILE * TILE]| texture.iter().zip(&light).map(|(a, b)| a * b).sum();
        (square, self.textures.each_ref().map(dot))
    }

    /// Squared distance of a tile to each of its textures.
    fn squares(&self, picture: &[f32], drawing: &[f32], tile: Tile, scale: f32) -> [f32; TEXTURES] {
        let (square, products) = self.compare(picture, drawing, tile, scale);
        let contrast = tile.contrast();
        let own = 3.0 * contrast * contrast * (TILE * TILE) as f32;
        products.map(|product| square - 2.0 * contrast * product + own)
    }

    /// Logarithm of the tile's likelihood, up to a constant, and the posterior of its textures.
    fn weigh(
        &self,
        noisy: &[f32],
        drawing: &[f32],
        tile: Tile,
        scale: f32,
        variance: f32,
    ) -> (f32, [f32; TEXTURES]) {
        let squares = self.squares(noisy, drawing, tile, scale);
        let least = squares.iter().copied().fold(f32::INFINITY, f32::min);
        let weights = squares.map(|square| ((least - square) / (2.0 * variance)).exp());
        let total: f32 = weights.iter().sum();
        (total.ln() - least / (2.0 * variance), weights.map(|weight| weight / total))
    }

    fn nearest(&self, picture: &[f32], drawing: &[f32], tile: Tile) -> f32 {
        let squares = self.squares(picture, drawing, tile, 1.0);
        squares.iter().copied().fold(f32::INFINITY, f32::min).max(0.0)
    }

    fn add(
        &self,
        mean: &mut [f32],
        drawing: &[f32],
        tile: Tile,
        share: f32,
        posterior: &[f32; TEXTURES],
    ) {
        for row in 0..TILE {
            for column in 0..TILE {
                let inside = row * TILE + column;
                let texture = (posterior.iter().zip(&self.textures))
                    .map(|(weight, texture)| weight * texture[inside])
                    .sum::<f32>();
                let start = 3 * (tile.pixel(row) + column);
                for channel in start..start + 3 {
                    mean[channel] += share * (drawing[channel] + tile.contrast() * texture);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Tile {
    column: usize,
    row: usize,
    stride: usize,
}

impl Tile {
    /// Index of the first pixel in row `row` of the tile.
    fn pixel(self, row: usize) -> usize {
        (self.row * TILE + row) * self.stride + self.column * TILE
    }

    fn contrast(self) -> f32 {
        CONTRASTS[(self.column + 2 * self.row) % CONTRASTS.len()]
    }
}

/// Hatchings: four directions, each in two phases.
fn textures() -> [[f32; TILE * TILE]; TEXTURES] {
    let mut textures = [[0.0; TILE * TILE]; TEXTURES];
    for (index, texture) in textures.iter_mut().enumerate() {
        let (dx, dy) = [(1, 0), (0, 1), (1, 1), (1, TILE - 1)][index / 2];
        for (place, value) in texture.iter_mut().enumerate() {
            let phase = (place % TILE) * dx + (place / TILE) * dy + 2 * (index % 2);
            // Two lines per tile; ±1 has mean square 1.
            *value = if phase % 4 < 2 { 1.0 } else { -1.0 };
        }
    }
    textures
}

/// What a prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wish {
    shape: Option<Shape>,
    colour: Option<Colour>,
    background: Option<Colour>,
}

impl Wish {
    /// Reads any text: colours ahead of the word "on" belong to the shape, those after it to the
    /// background; the first one counts, and words that are not known are passed over.
    fn read(prompt: &str) -> Self {
        let words: Vec<_> =
            (prompt.split(|c: char| !c.is_alphanumeric())).map(str::to_lowercase).collect();
        let split = words.iter().position(|w| w == "on").unwrap_or(words.len());
        let (front, back) = words.split_at(split);
        let colour = |words: &[String]| words.iter().find_map(|w| named(&COLOURS, w));
        Self {
            shape: words.iter().find_map(|w| named(&SHAPES, w)),
            colour: colour(front),
            background: colour(back),
        }
    }

    fn draw(self, width: usize, height: usize, generator: &mut Generator) -> Vec<f32> {
        let shape = SHAPES[generator.below(SHAPES.len())].1;
        let shape = self.shape.unwrap_or(shape);
        let foreground = COLOURS[generator.below(COLOURS.len())].1;
        let background = COLOURS[generator.below(COLOURS.len())].1;
        let foreground = self.colour.unwrap_or(foreground);
        let background = self.background.unwrap_or(background);
        let side = width.min(height) as f32;
        let radius = side * generator.between(0.2, 0.34) as f32;
        let mut centre = |length: usize| {
            let half = length as f32 / 2.0;
            half + (half - radius - 2.0).max(0.0) * generator.between(-0.8, 0.8) as f32
        };
        let (x, y) = (centre(width), centre(height));
        let mut picture = Vec::with_capacity(3 * width * height);
        for place in 0..width * height {
            let dx = (place % width) as f32 + 0.5 - x;
            let dy = (place / width) as f32 + 0.5 - y;
            let cover = (0.5 - shape.distance(dx, dy, radius)).clamp(0.0, 1.0);
            for (front, back) in foreground.iter().zip(background) {
                picture.push(back + cover * (front - back));
            }
        }
        picture
    }
}

fn named<T: Copy>(names: &[(&str, T)], word: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == word).map(|&(_, value)| value)
}

impl Shape {
    /// Signed distance to the outline in pixels, negative inside.
    fn distance(self, x: f32, y: f32, radius: f32) -> f32 {
        match self {
            Self::Circle => x.hypot(y) - radius,
            Self::Square => x.abs().max(y.abs()) - 0.85 * radius,
            Self::Triangle => {
                let side = 0.866 * x.abs() + 0.5 * -y;
                side.max(y) - 0.5 * radius
            }
            Self::Ring => (x.hypot(y) - 0.8 * radius).abs() - 0.2 * radius,
            Self::Cross => {
                let (long, short) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
                (long - radius).max(short - 0.28 * radius)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prompts_select_shape_and_colours() {
        let colour = |name: &str| named(&COLOURS, name);
        let check = |prompt: &str, shape, front: Option<&str>, back: Option<&str>| {
            let wish =
                Wish { shape, colour: front.and_then(colour), background: back.and_then(colour) };
            assert_eq!(Wish::read(prompt), wish, "{prompt}");
        };
        check("a red circle on blue", Some(Shape::Circle), Some("red"), Some("blue"));
        check("RING, on a white ground", Some(Shape::Ring), None, Some("white"));
        check("green", None, Some("green"), None);
        check("", None, None, None);
    }

    /// The posterior mean against its definition, summed over every member of a tiny set.
    #[test]
    fn the_denoiser_is_the_softmax_weighted_mean() {
        let mut set = PictureSet::of_prompt("a red circle on blue", 16, 8);
        set.drawings.truncate(3);
        let mut members = Vec::new();
        for drawing in &set.drawings {
            for left in 0..TEXTURES {
                for right in 0..TEXTURES {
                    let mut member = drawing.clone();
                    for (tile, texture) in set.tiles().zip([left, right]) {
                        for place in 0..TILE * TILE {
                            let start = 3 * (tile.pixel(place / TILE) + place % TILE);
                            for value in &mut member[start..start + 3] {
                                *value += tile.contrast() * set.textures[texture][place];
                            }
                        }
                    }
                    members.push(member);
                }
            }
        }
        let mut generator = Generator::new(5, Purpose::Picture, 1);
        for alpha_bar in [0.01f32, 0.2, 0.5, 0.9, 0.99] {
            let truth = &members[generator.below(members.len())];
            let noisy: Vec<f32> = (truth.iter())
                .map(|v| {
                    alpha_bar.sqrt() * v + (1.0 - alpha_bar).sqrt() * generator.normal() as f32
                })
                .collect();
            let log = |member: &Vec<f32>| -> f64 {
                let square: f64 = (noisy.iter().zip(member))
                    .map(|(x, y)| f64::from(x - alpha_bar.sqrt() * y).powi(2))
                    .sum();
                -square / (2.0 * f64::from(1.0 - alpha_bar))
            };
            let logs: Vec<f64> = members.iter().map(log).collect();
            let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logs.iter().map(|l| (l - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mean = set.denoise(&noisy, alpha_bar);
            for place in 0..set.len() {
                let expected: f64 = (members.iter().zip(&weights))
                    .map(|(member, weight)| f64::from(member[place]) * weight / total)
                    .sum();
                let found = f64::from(mean[place]);
                assert!((found - expected).abs() < 2e-3, "{place}: {found} {expected}");
            }
        }
        assert!(members.iter().all(|member| set.distance(member) < 1e-3));
    }

    proptest! {
        #[test]
        fn any_prompt_paints(prompt in ".{0,60}", columns in 1..4usize, rows in 1..4usize) {
            let set = PictureSet::of_prompt(&prompt, 8 * columns, 8 * rows);
            prop_assert!(set.drawings.iter().flatten().all(|value| value.abs() <= 0.76));
        }
    }
}
