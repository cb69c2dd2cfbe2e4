use proptest::prelude::*;

use super::*;

fn noise(width: u32, height: u32) -> Vec<u8> {
    let pixels = (0..3 * width * height).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    encode(&pixels.collect::<Vec<_>>(), width, height)
}

/// The checksum of a chunk, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let turn = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let step = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| turn(crc));
    !bytes.iter().fold(!0, step)
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut body = kind.to_vec();
    body.extend(data);
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length[..], &body, &checksum(&body).to_be_bytes()].concat()
}

const HEAD: usize = 8 + 25;
const END: usize = 12;

/// A picture with something put in behind `IHDR`.
fn with(extra: &[u8]) -> Vec<u8> {
    let whole = noise(24, 16);
    [&whole[..HEAD], extra, &whole[HEAD..]].concat()
}

/// A picture with this image data.
fn drawn(data: &[&[u8]]) -> Vec<u8> {
    let whole = noise(24, 16);
    let data: Vec<u8> = data.iter().flat_map(|part| chunk(*b"IDAT", part)).collect();
    [&whole[..HEAD], &data, &whole[whole.len() - END..]].concat()
}

/// The image data of a picture.
fn data() -> Vec<u8> {
    let whole = noise(24, 16);
    whole[HEAD + 8..whole.len() - END - 4].to_vec()
}

/// So many zeros, compressed.
fn packed(zeros: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &vec![0; zeros]).unwrap();
    encoder.finish().unwrap()
}

/// Rows that are stored, without compression, as one block.
fn stored(rows: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rows.len()).unwrap();
    let (low, high) = rows.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let adler = ((high << 16) | low).to_be_bytes();
    let (length, inverse) = (length.to_le_bytes(), (!length).to_le_bytes());
    [&[0x78, 0x01, 0x01], &length[..], &inverse, rows, &adler].concat()
}

#[test]
fn whole_pictures_of_the_right_size_pass() {
    check(&noise(24, 16), 24, 16).unwrap();
    let error = check(&noise(24, 16), 16, 24).unwrap_err();
    assert_eq!(error, BackendError::WrongSize { came: (24, 16), wanted: (16, 24) });
    assert_eq!(error.to_string(), "wrong picture: 24x16 came, 16x24 was asked for");
}

#[test]
fn what_honest_servers_write_beside_the_picture_passes() {
    let data = data();
    let (first, second) = data.split_at(100);
    let text = |bytes: usize| chunk(*b"tEXt", &[b"workflow\0", &*vec![b'x'; bytes]].concat());
    for (name, png) in [
        ("a workflow of a megabyte", with(&text(METADATA - 100))),
        ("parameters", with(&[text(10), chunk(*b"iTXt", b"prompt\0\0\0\0\0{}")].concat())),
        ("compressed parameters", with(&chunk(*b"zTXt", &[b"k\0\0", &*packed(2 << 20)].concat()))),
        ("a profile", with(&chunk(*b"iCCP", &[b"sRGB\0\0", &*packed(3000)].concat()))),
        ("physical size", with(&chunk(*b"pHYs", &[0, 0, 1, 0, 0, 0, 1, 0, 1]))),
        ("several chunks of data", drawn(&[first, second, b""])),
        ("rows that are not compressed", drawn(&[&stored(&[0; 16 * (1 + 3 * 24)])])),
    ] {
        assert_eq!(check(&png, 24, 16), Ok(()), "{name}");
    }
}

#[test]
fn whatever_else_is_in_it_is_refused() {
    let whole = noise(24, 16);
    let data = data();
    let (first, second) = data.split_at(100);
    let behind = |extra: &[u8]| [&*whole, extra].concat();
    let before_end = |extra: &[u8]| {
        let (picture, end) = whole.split_at(whole.len() - END);
        [picture, extra, end].concat()
    };
    let torn = {
        let text = chunk(*b"tEXt", b"a\0b");
        let parts = [chunk(*b"IDAT", first), text, chunk(*b"IDAT", second)].concat();
        [&whole[..HEAD], &parts, &whole[whole.len() - END..]].concat()
    };
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut bad_text = chunk(*b"tEXt", b"a\0b");
    *bad_text.last_mut().unwrap() ^= 1;
    let many = chunk(*b"tEXt", b"a\0b").repeat(1000);
    let private = chunk(*b"prVt", &vec![0; METADATA]);
    let bomb = |kind: [u8; 4], head: &[u8]| chunk(kind, &[head, &packed(8 << 20)].concat());
    let camera = chunk(*b"eXIf", &vec![0x55; METADATA]);
    let pixels = vec![0; 2 * 3 * 24 * 16 + 64 * 1024];
    for (name, png, part) in [
        ("a byte behind its end", behind(b"x"), "1 bytes lie behind its end"),
        ("a megabyte behind it", behind(&vec![0; 1 << 20]), "bytes"),
        ("another picture behind it", behind(&whole), "lie behind its end"),
        ("much behind it", behind(&vec![0; 4 << 20]), "takes"),
        ("a private chunk", with(&private), "prVt"),
        ("a private chunk at the end", before_end(&private), "prVt"),
        ("large camera data", with(&camera), "eXIf"),
        ("a text that unpacks to much", with(&bomb(*b"zTXt", b"k\0\0")), "zTXt unpacks"),
        ("a profile that does", with(&bomb(*b"iCCP", b"k\0\0")), "iCCP unpacks"),
        ("an iTXt that does", with(&bomb(*b"iTXt", b"k\0\x01\0en\0t\0")), "iTXt unpacks"),
        ("a text that does not unpack", with(&chunk(*b"zTXt", b"k\0\0xx")), "cannot be unpacked"),
        ("many chunks", with(&many), "256 chunks"),
        ("much text in two", with(&chunk(*b"tEXt", &vec![0; METADATA / 2]).repeat(2)), "tEXt"),
        ("much image data", drawn(&[&pixels]), "image data"),
        ("image data in crumbs", drawn(&vec![&b""[..]; 5000]), "image data"),
        ("image data in two places", torn, "torn apart"),
        ("no image data", drawn(&[]), "no image data"),
        ("no end", whole[..whole.len() - END].to_vec(), "cut off"),
        (
            "an end that is not empty",
            { [&whole[..whole.len() - END], &chunk(*b"IEND", b"x")].concat() },
            "IEND is not empty",
        ),
        ("a critical chunk that nobody knows", with(&chunk(*b"NEWx", b"")), "NEWx has no place"),
        ("two headers", with(&whole[8..HEAD]), "IHDR has no place"),
        ("an animation", with(&chunk(*b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0])), "animated"),
        ("damaged text", with(&bad_text), "damaged PNG"),
        ("rows that are missing", drawn(&[&stored(&[0; 15 * (1 + 3 * 24)])]), "damaged PNG"),
        ("rows of an unknown filter", drawn(&[&stored(&[9; 16 * (1 + 3 * 24)])]), "damaged PNG"),
        ("huge dimensions", huge, "2147483647x2147483647 came"),
        ("a page", b"<script>alert(1)</script>".to_vec(), "something else came"),
        ("a JPEG", b"\xff\xd8\xff\xe0".to_vec(), "a JPEG came"),
        ("nothing", Vec::new(), "nothing came"),
    ] {
        let error = check(&png, 24, 16).expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn a_picture_cut_anywhere_is_refused() {
    let whole = noise(24, 16);
    for length in 0..whole.len() {
        assert!(check(&whole[..length], 24, 16).is_err(), "cut at {length}");
    }
}

#[test]
fn the_longest_picture_is_bounded_by_its_pixels() {
    assert!(longest(64, 64) < 2 << 20);
    assert!(longest(8192, 8192) < 640 << 20);
    // The worst that an encoder makes of rows fits, whatever their form.
    for (depth, color) in [
        (png::BitDepth::Sixteen, png::ColorType::Rgba),
        (png::BitDepth::One, png::ColorType::Grayscale),
    ] {
        let (width, height) = (40, 300);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.set_compression(png::Compression::NoCompression);
        let bits = depth as usize * color.samples();
        let rows = vec![0x5a; height as usize * (width as usize * bits).div_ceil(8)];
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&rows).unwrap();
        writer.finish().unwrap();
        check(&bytes, width, height).unwrap();
        assert!(bytes.len() < longest(width, height));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(check(&bytes, 8, 8).is_err());
        let signed = [&b"\x89PNG\r\n\x1a\n"[..], &bytes].concat();
        prop_assert!(check(&signed, 8, 8).is_err());
    }

    #[test]
    fn damage_is_refused_and_never_panics(place in 0..800usize, bit in 0..8u32) {
        let mut bytes = noise(16, 16);
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        prop_assert!(check(&bytes, 16, 16).is_err());
    }

    #[test]
    fn chunks_in_any_order_never_panic(
        kinds in prop::collection::vec((prop::sample::select(vec![
            *b"IHDR", *b"IDAT", *b"IEND", *b"PLTE", *b"tEXt", *b"prVt", *b"fdAT", *b"0000",
        ]), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let whole = noise(8, 8);
        let extra: Vec<u8> = kinds.iter().flat_map(|(kind, data)| chunk(*kind, data)).collect();
        let _ = check(&[&whole[..HEAD], &extra, &whole[HEAD..]].concat(), 8, 8);
        let _ = check(&[&whole[..8], &extra].concat(), 8, 8);
    }
}
