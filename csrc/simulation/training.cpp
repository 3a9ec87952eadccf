#include "simulation/training.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.hpp"
#include "base/random.hpp"

namespace isthmus {

std::uint64_t hash_of(ByteView bytes) {
  std::uint64_t hash = mix(bytes.size() + 1);
  // Four apart, so that none waits for another: models are hashed at every step.
  constexpr std::size_t word = sizeof(std::uint64_t);
  std::array<std::uint64_t, 4> lanes{1, 2, 3, 4};
  for (; bytes.size() >= lanes.size() * word; bytes = bytes.subspan(lanes.size() * word))
    for (std::size_t i = 0; i < lanes.size(); ++i)
      lanes[i] = mix(lanes[i] ^ load<std::uint64_t>(bytes.data() + i * word));
  for (const std::uint64_t lane : lanes) hash = mix(hash ^ lane);
  for (; bytes.size() >= word; bytes = bytes.subspan(word))
    hash = mix(hash ^ load<std::uint64_t>(bytes.data()));
  for (const std::byte byte : bytes) hash = mix(hash + static_cast<std::uint64_t>(byte) + 1);
  return hash;
}

std::uint64_t Training::digest() const {
  const std::uint64_t of_parameters = hash_of(std::as_bytes(std::span(parameters)));
  return std::max<std::uint64_t>(mix(of_parameters ^ mix(chain ^ mix(step + 1))), 1);
}

void Training::add(SiteSet contributors, const std::vector<float>& result) {
  constexpr float rate = 0.01F;
  for (std::size_t i = 0; i < result.size(); ++i)
    parameters[i % parameters.size()] += rate * result[i];
  chain = mix(chain ^ hash_of(std::as_bytes(std::span(result))));
  chain = mix(chain ^ contributors.bits());
}

Training begin_training(const RunPlan& plan) {
  Random random(plan.world.seed);
  Training training{.parameters = std::vector<float>(plan.parameters)};
  for (float& value : training.parameters) value = static_cast<float>(random.unit());
  return training;
}

std::vector<std::byte> to_payload(const Training& training) {
  return Writer()
      .put(training.step)
      .put(training.chain)
      .put_raw(std::as_bytes(std::span(training.parameters)))
      .take();
}

std::optional<Training> parse_training(ByteView payload) {
  Reader in(payload);
  Training training;
  training.step = in.get<std::uint64_t>();
  training.chain = in.get<std::uint64_t>();
  if (!in.ok() || in.left() == 0 || in.left() % sizeof(float) != 0) return std::nullopt;
  training.parameters.resize(in.left() / sizeof(float));
  const ByteView raw = in.get_raw(in.left());
  std::memcpy(training.parameters.data(), raw.data(), raw.size());
  return training;
}

WorldPlan scene_of(const RunPlan& plan, EpochKey key, std::uint64_t number,
                   const std::vector<std::string>& sites) {
  WorldPlan scene;
  scene.seed = mix(mix(plan.world.seed ^ key.run) + (std::uint64_t{key.epoch} << 32) + number);
  for (const std::string& name : sites) scene.sites.push_back({.name = name});
  Random random(scene.seed);
  const std::uint64_t most = random.one_in(4) ? plan.elements : std::min(plan.elements, 500UL);
  scene.operations.push_back(
      draw_reduction(random, scene.world(), random.between<std::uint64_t>(1, most)));
  return scene;
}

}  // namespace isthmus
