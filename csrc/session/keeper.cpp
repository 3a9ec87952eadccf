#include "session/keeper.hpp"

#include <unistd.h>

#include <random>

namespace isthmus {

Keeper::Keeper() : network_(reactor_, {}), owner_(getpid()) {}

Result<std::shared_ptr<Keeper>> Keeper::open(const std::string& listen) {
  std::shared_ptr<Keeper> keeper(new Keeper());
  auto listener = keeper->network_.listen(listen);
  if (!listener.ok()) return listener.status();
  std::random_device device;
  keeper->coordinator_ =
      std::make_unique<Coordinator>(std::move(*listener), std::uint64_t{device()} << 32 | device());
  keeper->address_ = keeper->coordinator_->address();
  keeper->reactor_.add(keeper->coordinator_.get());
  keeper->thread_ = std::thread([self = keeper.get()] { self->reactor_.run(); });
  return keeper;
}

void Keeper::close() {
  if (!thread_.joinable()) return;
  if (getpid() != owner_) return thread_.detach();
  reactor_.post([this] {
    reactor_.stop();
    coordinator_.reset();
  });
  thread_.join();
}

Keeper::~Keeper() {
  close();
}

}  // namespace isthmus
