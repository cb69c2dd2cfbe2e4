//! Shapes cut to the height of a panel, in numbers, so that nothing is drawn outside.

use super::picture::Point;

/// The pieces of a line that lie between two heights.
pub(crate) fn trimmed_line(points: &[Point], [top, bottom]: [f64; 2]) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    let mut open = false;
    for pair in points.windows(2) {
        let Some([from, to]) = trimmed_segment([pair[0], pair[1]], [top, bottom]) else {
            open = false;
            continue;
        };
        if !open || pieces.last().and_then(|piece| piece.last()) != Some(&from) {
            pieces.push(vec![from]);
        }
        pieces.last_mut().expect("one was pushed").push(to);
        open = to == pair[1];
    }
    pieces
}

fn trimmed_segment([from, to]: [Point; 2], [top, bottom]: [f64; 2]) -> Option<[Point; 2]> {
    let inside = |point: Point| (top..=bottom).contains(&point[1]);
    if inside(from) && inside(to) {
        return Some([from, to]);
    }
    let rise = to[1] - from[1];
    let at = |height: f64| (height - from[1]) / rise;
    let [first, last] = if rise >= 0.0 { [at(top), at(bottom)] } else { [at(bottom), at(top)] };
    let [first, last] = [first.max(0.0), last.min(1.0)];
    // A level line outside gives no number, which is no piece either.
    (first < last).then(|| {
        let point = |share: f64| match share {
            0.0 => from,
            1.0 => to,
            _ => {
                let [x, y] = [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
                [x, y.clamp(top, bottom)]
            }
        };
        [point(first), point(last)]
    })
}

/// The part of a polygon that lies between two heights.
pub(crate) fn trimmed_polygon(points: &[Point], [top, bottom]: [f64; 2]) -> Vec<Point> {
    let below_top = cut(points, |y| y - top);
    cut(&below_top, |y| bottom - y)
}

/// The part of a polygon where `inside` of the height is not negative (Sutherland and Hodgman).
fn cut(points: &[Point], inside: impl Fn(f64) -> f64) -> Vec<Point> {
    let mut kept = Vec::with_capacity(points.len());
    for (index, &to) in points.iter().enumerate() {
        let from = points[(index + points.len() - 1) % points.len()];
        let [before, here] = [inside(from[1]), inside(to[1])];
        if (before < 0.0) != (here < 0.0) {
            let share = before / (before - here);
            kept.push([0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis])));
        }
        if here >= 0.0 {
            kept.push(to);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_edges() {
        let line = [[0.0, 5.0], [10.0, 105.0], [20.0, 5.0], [30.0, 5.0]];
        let pieces = trimmed_line(&line, [0.0, 55.0]);
        assert_eq!(
            pieces,
            [vec![[0.0, 5.0], [5.0, 55.0]], vec![[15.0, 55.0], [20.0, 5.0], [30.0, 5.0]]]
        );
        let through = trimmed_line(&[[0.0, -100.0], [10.0, 100.0]], [0.0, 50.0]);
        assert_eq!(through, [vec![[5.0, 0.0], [7.5, 50.0]]]);
        assert!(trimmed_line(&[[0.0, 90.0], [10.0, 90.0]], [0.0, 50.0]).is_empty());
        assert_eq!(trimmed_line(&[[0.0, 9.0], [10.0, 9.0]], [0.0, 50.0]).len(), 1);
    }

    #[test]
    fn polygons_end_at_the_edges() {
        let square = [[0.0, -10.0], [10.0, -10.0], [10.0, 90.0], [0.0, 90.0]];
        let kept = trimmed_polygon(&square, [0.0, 50.0]);
        assert_eq!(kept.len(), 4);
        assert!(kept.iter().all(|[_, y]| *y == 0.0 || *y == 50.0), "{kept:?}");
        assert!(trimmed_polygon(&square, [100.0, 110.0]).is_empty());
        assert_eq!(trimmed_polygon(&square, [-20.0, 100.0]).len(), 4);
    }
}
