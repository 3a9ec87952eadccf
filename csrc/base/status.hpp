// Status: how a call ended. Failures are values in C++ and become one Python exception per code.
//
// `peer` is the rank that the failure is about, or -1. `text` says who, what and what to do.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace isthmus {

enum class Code { ok, timeout, peer_lost, refused, wire_error, cancelled, internal_error };

struct [[nodiscard]] Status {
  Code code = Code::ok;
  int peer = -1;
  std::string text;

  bool ok() const { return code == Code::ok; }
};

inline Status refused(std::string text, int peer = -1) {
  return {Code::refused, peer, std::move(text)};
}
inline Status wire_error(std::string text, int peer = -1) {
  return {Code::wire_error, peer, std::move(text)};
}
inline Status peer_lost(std::string text, int peer = -1) {
  return {Code::peer_lost, peer, std::move(text)};
}
inline Status timed_out(std::string text, int peer = -1) {
  return {Code::timeout, peer, std::move(text)};
}
inline Status cancelled(std::string text) {
  return {Code::cancelled, -1, std::move(text)};
}
inline Status internal_error(std::string text) {
  return {Code::internal_error, -1, std::move(text)};
}

// Result: a value, or the Status that explains why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace isthmus
