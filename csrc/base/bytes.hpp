// Bytes: little-endian fields in and out of byte strings, with every length checked.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace isthmus {

static_assert(std::endian::native == std::endian::little, "wire formats are little endian");

using ByteSpan = std::span<std::byte>;
using ByteView = std::span<const std::byte>;

template <class T>
concept Field = std::integral<T> || std::floating_point<T>;

template <Field T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <Field T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Writer appends fields to a growing string of bytes.
class Writer {
 public:
  template <Field T>
  Writer& put(T value) {
    return put_raw(std::as_bytes(std::span(&value, 1)));
  }
  Writer& put(std::string_view text) {  // u16 length, then the bytes; longer texts are cut
    const auto size = static_cast<std::uint16_t>(std::min<std::size_t>(text.size(), 0xffff));
    put(size);
    return put_raw(std::as_bytes(std::span(text.data(), size)));
  }
  Writer& put_raw(ByteView bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Reader takes fields from bytes that a stranger may have sent. After a read past the end, ok() is
// false for good and every value is zero or empty.
class Reader {
 public:
  explicit Reader(ByteView bytes) : bytes_(bytes) {}

  template <Field T>
  T get() {
    if (!has(sizeof(T))) return T{};
    const T value = load<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  std::string get_text() {
    const ByteView raw = get_raw(get<std::uint16_t>());
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  ByteView get_raw(std::size_t size) {
    if (!has(size)) return {};
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }
  std::size_t left() const { return bytes_.size() - at_; }
  bool ok() const { return ok_; }
  bool ended() const { return ok_ && left() == 0; }  // read well, and nothing is left over

 private:
  bool has(std::size_t size) { return ok_ = ok_ && size <= left(); }

  ByteView bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace isthmus
