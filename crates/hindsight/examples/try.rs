#[path = "../tests/paper/mod.rs"]
mod paper;
fn main() {
    let a: Vec<f64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let i = paper::instance(1, a[2] as usize, a[1] as usize, a[0]);
    println!("{}", hindsight::try_dual(&i, a[3] as usize, a[4] as usize));
}
