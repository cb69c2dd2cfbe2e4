//! Lines that coincide, told apart: where several run on the same pixels they take turns.

use std::collections::HashMap;

use super::picture::Point;

/// Lines nearer than this hide one another.
const NEAR: f64 = 1.4;
/// How far one of them is seen before the next.
const TURN: f64 = 8.0;
/// Lines that are together for no longer than this cross one another, and both are drawn.
const CROSSING: f64 = 14.0;

/// The pieces of each line that are to be drawn. A line is one or more polylines; at most 64 lines
/// take turns.
pub(crate) fn woven(lines: &[Vec<Vec<Point>>]) -> Vec<Vec<Vec<Point>>> {
    let dense: Vec<Vec<Vec<Bead>>> =
        lines.iter().map(|line| line.iter().map(|piece| strung(piece)).collect()).collect();
    let mut cells: HashMap<[i32; 2], u64> = HashMap::new();
    for (index, line) in dense.iter().enumerate() {
        for bead in line.iter().flatten() {
            *cells.entry(cell(bead.at)).or_default() |= 1 << (index % 64);
        }
    }
    let pieces = |(index, line): (usize, Vec<Vec<Bead>>)| {
        line.into_iter().flat_map(|piece| drawn(&piece, index % 64, &cells)).collect()
    };
    dense.into_iter().enumerate().map(pieces).collect()
}

/// A position on a line, so near to the next that none in between need be looked at.
#[derive(Clone, Copy)]
struct Bead {
    at: Point,
    /// One of the line's own points.
    own: bool,
}

fn strung(line: &[Point]) -> Vec<Bead> {
    let mut beads: Vec<Bead> = line.first().map(|&at| Bead { at, own: true }).into_iter().collect();
    for pair in line.windows(2) {
        let [dx, dy] = [pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]];
        let count = dx.hypot(dy).ceil().max(1.0) as usize;
        for step in 1..=count {
            let share = step as f64 / count as f64;
            let at = [pair[0][0] + share * dx, pair[0][1] + share * dy];
            beads.push(Bead { at, own: step == count });
        }
    }
    beads
}

fn cell(at: Point) -> [i32; 2] {
    at.map(|length| (length / NEAR).floor() as i32)
}

/// The polylines that are left of one in which the line of this index is seen at its turns alone.
fn drawn(beads: &[Bead], index: usize, cells: &HashMap<[i32; 2], u64>) -> Vec<Vec<Point>> {
    // Which lines are near each bead.
    let near: Vec<u64> = (beads.iter())
        .map(|bead| {
            let [x, y] = cell(bead.at);
            let around = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| [x + dx, y + dy]));
            around.filter_map(|cell| cells.get(&cell)).fold(0, |all, own| all | own)
        })
        .collect();
    let mut seen: Vec<bool> = Vec::with_capacity(beads.len());
    for stretch in near.chunk_by(|a, b| (a.count_ones() > 1) == (b.count_ones() > 1)) {
        let alone = stretch[0].count_ones() < 2 || stretch.len() as f64 <= CROSSING;
        let turn = |(bead, near): (&Bead, &u64)| {
            let before = (near & ((1 << index) - 1)).count_ones();
            // Along lines that run rightwards, upwards, or both.
            let part = ((bead.at[0] - bead.at[1]) / TURN).floor() as i64;
            part.rem_euclid(i64::from(near.count_ones().max(1))) == i64::from(before)
        };
        let here = beads[seen.len()..].iter().zip(stretch);
        seen.extend(here.map(|pair| alone || turn(pair)).collect::<Vec<_>>());
    }
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for run in seen.iter().zip(beads).collect::<Vec<_>>().chunk_by(|a, b| a.0 == b.0) {
        if !run[0].0 || run.len() < 2 {
            continue;
        }
        let last = run.len() - 1;
        let kept =
            run.iter().enumerate().filter(|(at, (_, bead))| bead.own || *at == 0 || *at == last);
        pieces.push(kept.map(|(_, (_, bead))| bead.at).collect());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(pieces: &[Vec<Point>]) -> f64 {
        let parts = pieces.iter().flat_map(|piece| piece.windows(2));
        parts.map(|pair| (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1])).sum()
    }

    #[test]
    fn lines_that_coincide_share_the_way() {
        let line = |y: f64| vec![vec![[0.0, y], [300.0, y]]];
        let pieces = woven(&[line(50.0), line(50.4), line(120.0), line(49.8)]);
        for shared in [0, 1, 3] {
            let seen = length(&pieces[shared]);
            assert!((70.0..130.0).contains(&seen), "{shared}: {seen}");
        }
        assert_eq!(pieces[2], [vec![[0.0, 120.0], [300.0, 120.0]]]);
    }

    #[test]
    fn steep_lines_share_the_way_too() {
        let step = vec![vec![[10.0, 200.0], [10.0, 20.0], [200.0, 20.0]]];
        let pieces = woven(&[step.clone(), step]);
        let [first, second] = [length(&pieces[0]), length(&pieces[1])];
        assert!(first > 140.0 && second > 140.0 && first + second < 375.0, "{first} {second}");
    }

    #[test]
    fn lines_that_cross_are_whole() {
        let rising = vec![vec![[0.0, 100.0], [100.0, 0.0]]];
        let level = vec![vec![[0.0, 40.0], [100.0, 40.0]]];
        let pieces = woven(&[rising.clone(), level.clone()]);
        assert_eq!(pieces, [rising, level]);
    }
}
