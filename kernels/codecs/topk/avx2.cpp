// topk with AVX2, exact: the scan for candidates and the counts are wide, the rest is plain.
#if defined(__x86_64__)

#include "codecs/blocks_avx2.hpp"
#include "codecs/portable.hpp"
#include "codecs/topk/selection.hpp"

namespace isthmus::codecs::sparse {
namespace {

using avx2::lanes;

// The lanes whose bits are set in a byte, in order, to the front.
constexpr auto to_front = [] {
  std::array<std::array<std::uint8_t, lanes>, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::size_t count = 0;
    for (std::uint8_t lane = 0; lane < lanes; ++lane) {
      if ((byte >> lane & 1U) != 0) table[byte][count++] = lane;
    }
  }
  return table;
}();

// Magnitudes are positive as signed numbers too.
[[ISTHMUS_AVX2_INLINE]] inline unsigned reaching(__m256i magnitudes, __m256i below) {
  return static_cast<unsigned>(
      _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(magnitudes, below))));
}

[[ISTHMUS_AVX2_INLINE]] inline __m256i below(std::uint32_t least) {
  return _mm256_set1_epi32(static_cast<int>(least) - 1);
}

[[ISTHMUS_AVX2_INLINE]] inline void add_candidates(const float* p, std::size_t place, __m256i limit,
                                                   Candidates& found) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(magnitude_mask));
  const __m256i magnitudes =
      _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + place)), mask);
  const unsigned chosen = reaching(magnitudes, limit);
  const __m256i order = _mm256_cvtepu8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(to_front[chosen].data())));
  const __m256i places = _mm256_add_epi32(order, _mm256_set1_epi32(static_cast<int>(place)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(found.magnitudes.data() + found.count),
                      _mm256_permutevar8x32_epi32(magnitudes, order));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(found.places.data() + found.count), places);
  found.count += static_cast<std::size_t>(std::popcount(chosen));
}

// Also writes zeros behind the last one, for the reads by whole registers.
[[ISTHMUS_AVX2]] void find_candidates(const float* p, std::uint32_t threshold, Candidates& found) {
  const __m256i limit = below(threshold);
  found.count = 0;
  for (std::size_t i = 0; i < block_elements; i += lanes) add_candidates(p, i, limit, found);
  std::fill_n(found.magnitudes.begin() + static_cast<std::ptrdiff_t>(found.count), lanes, 0U);
}

// REQUIRES: least > 0.
[[ISTHMUS_AVX2]] std::size_t count_from(const Candidates& found, std::uint32_t least) {
  const __m256i limit = below(least);
  __m256i counts = _mm256_setzero_si256();
  for (std::size_t i = 0; i < found.count; i += lanes) {
    const __m256i magnitudes =
        _mm256_load_si256(reinterpret_cast<const __m256i*>(found.magnitudes.data() + i));
    counts = _mm256_sub_epi32(counts, _mm256_cmpgt_epi32(magnitudes, limit));
  }
  return avx2::sum_of_lanes(counts);
}

// p, and the residual as if nothing were kept; returns the largest magnitude.
template <class Mode>
[[ISTHMUS_AVX2]] std::uint32_t load_block(const Streams& streams, std::size_t begin, float* p) {
  const std::uint32_t largest = avx2::load<Mode>(streams, begin, block_elements, p);
  if constexpr (Mode::feedback != FeedbackMode::none) {
    for (std::size_t i = 0; i < block_elements; i += lanes) {
      avx2::keep<Mode>(streams, begin + i, _mm256_loadu_ps(p + i));
    }
  }
  return largest;
}

template <class V, class Mode>
void encode_blocks(const Source& from, Extent extent, const Wire& to) {
  const Streams streams = streams_of(from);
  alignas(32) std::array<float, block_elements> p;
  Candidates found;
  Kept kept;
  std::array<float, most_kept> decoded;
  std::uint32_t threshold = magnitude_mask;
  const auto count = [&found](std::uint32_t least) { return count_from(found, least); };
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * block_elements;
    const std::uint32_t largest = load_block<Mode>(streams, begin, p.data());
    find_candidates(p.data(), threshold, found);
    if (found.count < V::k) {
      threshold = 0;
      find_candidates(p.data(), threshold, found);
    }
    const std::uint32_t kth = kth_largest(V::k, threshold, largest, count);
    choose_among_ties(found, V::k - count(kth + 1), V::k, kth, kept);
    threshold = threshold_after(kth);
    const Wire wire = at_block<V>(to, block);
    write_indices<V>(kept, wire.at[1]);
    write_values<V>(p.data(), kept, extent.filled, wire, decoded);
    if constexpr (Mode::feedback != FeedbackMode::none) {
      for (std::uint32_t i = 0; i < V::k; ++i) {
        portable::keep_residual(*from.feedback, begin + kept.at[i], p[kept.at[i]] - decoded[i]);
      }
    }
  }
}

template <class V>
struct Encoder {
  template <class Mode>
  static void run(const Source& from, Extent extent, const Wire& to) {
    encode_blocks<V, Mode>(from, extent, to);
  }
};

}  // namespace

template <class V>
void encode_avx2(const Source& from, Extent extent, const Wire& to) {
  encode_in_mode<Encoder<V>, false>(from, extent, to);
}

#define ISTHMUS_VARIANT(k, values) \
  template void encode_avx2<Variant<k, Values::values>>(const Source&, Extent, const Wire&);
#include "codecs/topk/variants.def"
#undef ISTHMUS_VARIANT

}  // namespace isthmus::codecs::sparse

#endif
