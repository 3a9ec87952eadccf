// topk with AVX-512, exact (selection.hpp).
#if defined(__x86_64__)

#include "codecs/blocks_avx512.hpp"
#include "codecs/topk/selection.hpp"

namespace isthmus::codecs::sparse {
namespace {

constexpr std::size_t lanes = 16;
template <class Mode>
[[ISTHMUS_AVX512_INLINE]] inline __m512 load(const Streams& from, std::size_t at) {
  const __m512 value = _mm512_loadu_ps(from.values + at);
  __m512 now;
  if constexpr (Mode::feedback == FeedbackMode::f32) {
    now = _mm512_loadu_ps(from.now + 4 * at);
  } else if constexpr (Mode::feedback == FeedbackMode::bf16) {
    now = avx512::widened(from.now + 2 * at);
  } else {
    return value;
  }
  return _mm512_add_ps(value, _mm512_mul_ps(_mm512_set1_ps(from.beta), now));
}

// The next residuals of a block.
template <class Mode>
[[ISTHMUS_AVX512]] void keep(const Streams& to, std::size_t begin, const float* left) {
  for (std::size_t i = 0; i < block_elements; i += 8 * lanes) {
    avx512::Block part;
    for (std::size_t k = 0; k < 8; ++k) part.part[k] = _mm512_load_ps(left + i + lanes * k);
    avx512::keep<Mode>(to, begin + i, part);
  }
}

[[ISTHMUS_AVX512_INLINE]] inline __m512i magnitudes_of(__m512 p) {
  return _mm512_and_si512(_mm512_castps_si512(p),
                          _mm512_set1_epi32(static_cast<int>(magnitude_mask)));
}

[[ISTHMUS_AVX512_INLINE]] inline void add_candidates(__m512 p, __m512i places, __m512i threshold,
                                                     Candidates& found) {
  const __m512i magnitudes = magnitudes_of(p);
  const __mmask16 chosen = _mm512_cmpge_epu32_mask(magnitudes, threshold);
  _mm512_storeu_si512(found.magnitudes.data() + found.count,
                      _mm512_maskz_compress_epi32(chosen, magnitudes));
  _mm512_storeu_si512(found.places.data() + found.count,
                      _mm512_maskz_compress_epi32(chosen, places));
  found.count += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(chosen)));
}

[[ISTHMUS_AVX512_INLINE]] inline __m512i first_places() {
  return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// One pass: p and the candidates.
template <class Mode>
[[ISTHMUS_AVX512_INLINE]] inline void scan(const Streams& from, std::size_t begin,
                                           std::uint32_t threshold, float* p, Candidates& found) {
  const __m512i limit = _mm512_set1_epi32(static_cast<int>(threshold));
  __m512i places = first_places();
  found.count = 0;
  for (std::size_t i = 0; i < block_elements; i += lanes) {
    const __m512 value = load<Mode>(from, begin + i);
    _mm512_store_ps(p + i, value);
    add_candidates(value, places, limit, found);  // a branch would be foretold badly
    places = _mm512_add_epi32(places, _mm512_set1_epi32(lanes));
  }
}

[[ISTHMUS_AVX512]] void take_all(const float* p, Candidates& found) {
  __m512i places = first_places();
  found.count = 0;
  for (std::size_t i = 0; i < block_elements; i += lanes) {
    add_candidates(_mm512_load_ps(p + i), places, _mm512_setzero_si512(), found);
    places = _mm512_add_epi32(places, _mm512_set1_epi32(lanes));
  }
}

// Brings the next block's lines near, a few at a time, while this block's candidates are counted:
// memory would be idle otherwise.
template <class Mode>
struct Prefetch {
  const Streams& streams;
  std::size_t at, end;

  void some() {
    if (at >= end) return;
    __builtin_prefetch(streams.values + at);
    constexpr bool wide =
        Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::first_f32;
    const std::size_t byte = at * (wide ? 4 : 2);
    if constexpr (Mode::feedback == FeedbackMode::f32 || Mode::feedback == FeedbackMode::bf16) {
      __builtin_prefetch(streams.now + byte);
    }
    at += lanes;
  }
};

template <class Near>
[[ISTHMUS_AVX512]] std::size_t count_from(const Candidates& found, std::uint32_t least,
                                          Near& near) {
  const __m512i limit = _mm512_set1_epi32(static_cast<int>(least));
  std::size_t count = 0;
  std::size_t i = 0;
  for (; i + lanes <= found.count; i += lanes) {
    const __mmask16 mask =
        _mm512_cmpge_epu32_mask(_mm512_load_si512(found.magnitudes.data() + i), limit);
    count += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(mask)));
    near.some();
  }
  const auto rest = static_cast<__mmask16>((1U << (found.count - i)) - 1);
  const __mmask16 mask =
      _mm512_mask_cmpge_epu32_mask(rest, _mm512_load_si512(found.magnitudes.data() + i), limit);
  return count + static_cast<std::size_t>(std::popcount(static_cast<unsigned>(mask)));
}

[[ISTHMUS_AVX512]] std::uint32_t largest_of(const Candidates& found) {
  __m512i most = _mm512_setzero_si512();
  for (std::size_t i = 0; i < found.count; i += lanes) {
    const auto inside =
        static_cast<__mmask16>(found.count - i >= lanes ? 0xffffU : (1U << (found.count - i)) - 1);
    most =
        _mm512_mask_max_epu32(most, inside, most, _mm512_load_si512(found.magnitudes.data() + i));
  }
  return _mm512_reduce_max_epu32(most);
}

template <class Near>
[[ISTHMUS_AVX512]] void choose(const Candidates& found, std::size_t k, std::uint32_t kth,
                               Kept& kept, Near& near) {
  if (count_from(found, kth, near) != k) {
    return choose_among_ties(found, k - count_from(found, kth + 1, near), k, kth, kept);
  }
  const __m512i limit = _mm512_set1_epi32(static_cast<int>(kth));
  std::size_t count = 0;
  for (std::size_t i = 0; i < found.count; i += lanes) {
    const auto inside =
        static_cast<__mmask16>(found.count - i >= lanes ? 0xffffU : (1U << (found.count - i)) - 1);
    const __mmask16 chosen =
        _mm512_mask_cmpge_epu32_mask(inside, _mm512_load_si512(found.magnitudes.data() + i), limit);
    const __m512i places =
        _mm512_maskz_compress_epi32(chosen, _mm512_load_si512(found.places.data() + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(kept.at.data() + count),
                        _mm512_cvtepi32_epi16(places));
    count += static_cast<std::size_t>(std::popcount(static_cast<unsigned>(chosen)));
  }
}

// The kept elements, sixteen a register.
template <std::uint32_t k>
struct Chosen {
  __m512 part[k / lanes];
};

template <class V>
[[ISTHMUS_AVX512_INLINE]] inline Chosen<V::k> gather(const float* p, const Kept& kept) {
  Chosen<V::k> chosen;
  for (std::size_t i = 0; i < V::k / lanes; ++i) {
    const __m512i places = _mm512_cvtepu16_epi32(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kept.at.data() + lanes * i)));
    chosen.part[i] = _mm512_i32gather_ps(places, p, sizeof(float));
  }
  return chosen;
}

template <std::uint32_t k>
[[ISTHMUS_AVX512_INLINE]] inline Bf16 two_bit_scale(const Chosen<k>& chosen, std::uint32_t filled,
                                                    std::uint32_t largest) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const FixedPoint point = fixed_point(largest, square_bits);
  __m512i sum = _mm512_setzero_si512();
  for (const __m512& part : chosen.part) {
    const __m512i n = avx512::fixed(part, _mm512_set1_ps(point.factor));
    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(n, n));
  }
  const auto squares = avx512::sum_of_lanes(sum);
  return std::min(two_bits::cap, root_mean_square(squares, std::min(filled, k), point.back));
}

// write_values of topk.hpp.
template <class V>
[[ISTHMUS_AVX512_INLINE]] inline void write_chosen(const Chosen<V::k>& chosen, std::uint32_t filled,
                                                   const Wire& to,
                                                   std::array<float, most_kept>& decoded) {
  __m512i most = _mm512_setzero_si512();
  for (const __m512& part : chosen.part) most = _mm512_max_epu32(most, magnitudes_of(part));
  const std::uint32_t largest = _mm512_reduce_max_epu32(most);
  if constexpr (V::values == Values::int2) {
    const Bf16 scale = two_bit_scale(chosen, filled, largest);
    const avx512::TwoBits levels(value_of(scale));
    store_at(to.at[0], 0, scale);
    for (std::size_t i = 0; i < V::k / lanes; ++i) {
      const unsigned codes = two_bits::has_codes(scale) ? levels.codes_of(chosen.part[i]) : 0;
      store_at(to.at[2], i, codes);
      _mm512_storeu_ps(decoded.data() + lanes * i, levels.values_of(codes));
    }
  } else {
    const integers::Scale scale = integers::scale_of<127>(largest);
    store_at(to.at[0], 0, scale.bits);
    for (std::size_t i = 0; i < V::k / lanes; ++i) {
      const __m512 scaled = _mm512_mul_ps(chosen.part[i], _mm512_set1_ps(scale.inverse));
      const __m512i nearest =
          _mm512_cvt_roundps_epi32(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      const __m512i clamped = _mm512_max_epi32(_mm512_min_epi32(nearest, _mm512_set1_epi32(127)),
                                               _mm512_set1_epi32(-127));
      const __m512i codes = scale.plain ? clamped : _mm512_setzero_si512();
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to.at[2] + lanes * i),
                       _mm512_cvtepi32_epi8(codes));
      _mm512_storeu_ps(decoded.data() + lanes * i,
                       _mm512_mul_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(scale.value)));
    }
  }
}

template <class V, class Mode>
[[ISTHMUS_AVX512]] void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  alignas(64) std::array<float, block_elements> p;
  Candidates found;
  Kept kept;
  std::array<float, most_kept> decoded;
  std::uint32_t threshold = magnitude_mask;
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    scan<Mode>(streams, begin, threshold, p.data(), found);
    if (found.count < V::k) {
      threshold = 0;
      take_all(p.data(), found);
    }
    const std::size_t after = begin + block_elements;
    const bool last = block + 1 == extent.blocks;
    Prefetch<Mode> near{streams, after, last ? after : after + block_elements};
    const std::uint32_t kth =
        kth_largest(V::k, threshold, largest_of(found),
                    [&](std::uint32_t least) { return count_from(found, least, near); });
    choose(found, V::k, kth, kept, near);
    threshold = threshold_after(kth);
    const Wire wire = at_block<V>(to, block);
    write_indices<V>(kept, wire.at[1]);
    write_chosen<V>(gather<V>(p.data(), kept), extent.filled, wire, decoded);
    if constexpr (Mode::feedback != FeedbackMode::none) {
      for (std::uint32_t i = 0; i < V::k; ++i) p[kept.at[i]] -= decoded[i];
      keep<Mode>(streams, begin, p.data());
    }
  }
}

template <class V>
struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<V, Mode>(from, extent, to);
    avx512::settle<Mode>();
  }
};

}  // namespace

template <class V>
void encode_avx512(const Source& from, Extent extent, const Wire& to) {
  encode_in_mode<Encoder<V>, false>(from, extent, to);
}

#define ISTHMUS_VARIANT(k, values) \
  template void encode_avx512<Variant<k, Values::values>>(const Source&, Extent, const Wire&);
#include "codecs/topk/variants.def"
#undef ISTHMUS_VARIANT

}  // namespace isthmus::codecs::sparse

#endif
