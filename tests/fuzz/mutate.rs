//! Mutations of a corpus: what a fuzzer without coverage can do. The same seed makes the same inputs.

/// What stands in the formats: a random byte seldom hits on it.
const WORDS: [&[u8]; 32] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b" ",
    b"\\",
    b"\\u0061",
    b"\x00",
    b"\xff",
    b"\xc3\xbc",
    b"0",
    b"-1",
    b"1e3",
    b"18446744073709551615",
    b"null",
    b"true",
    b"false",
    b"*.",
    b"a.example",
    b"10.0.0.1:80",
    b"[::1]:80",
    b"unix:/a",
    b"\"hosts\"",
    b"\"endpoints\"",
    b"\"app\":\"a\"",
    b"\"rev\":1",
    b"\"spec\":",
    b"\x0c",
];
/// Mutations of one input at most.
const MAX_STEPS: u64 = 4;

/// An endless row of inputs.
pub struct Mutator<'a> {
    state: u64,
    corpus: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// `corpus` is not empty.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        Self { state: seed, corpus }
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick().clone();
        for _ in 0..=self.below(MAX_STEPS) {
            self.mutate(&mut input);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        let end = (at + self.below(16) as usize).min(input.len());
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, input[at..end].to_vec())),
            4 => {
                let (other, to) = (self.pick(), self.place(input));
                let from = self.below(other.len() as u64 + 1) as usize;
                input.splice(at.min(to)..at.max(to), other[from..].iter().copied().take(64));
            }
            5 => input.truncate(at),
            6 => {
                let word = WORDS[self.below(WORDS.len() as u64) as usize];
                input.splice(at..end, word.iter().copied());
            }
            _ => {
                let word = WORDS[self.below(WORDS.len() as u64) as usize];
                input.splice(at..at, word.iter().copied());
            }
        }
    }

    fn pick(&mut self) -> &'a Vec<u8> {
        let index = self.below(self.corpus.len() as u64) as usize;
        &self.corpus[index]
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.below(input.len() as u64 + 1) as usize
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random() % limit
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
