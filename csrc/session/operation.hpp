// Operation: one collective at one site, from its request to its outcome. It moves no bytes itself.
//
// It runs over a roster. When that changes it is stopped, and then begun again over the new one
// from the caller's bytes, or its result comes from a site that has it already.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collective/executor.hpp"
#include "session/buffers.hpp"
#include "session/finished.hpp"
#include "session/request.hpp"
#include "session/work.hpp"

namespace isthmus {

struct Place {
  int rank = 0;
  int world = 1;  // of the session, whatever the roster; ranks are the session's too
};

// What all operations of a session use; it outlives them.
struct Means {
  Buffers& large;
  SliceBuffers& slices;
  Workers& workers;
};

class Operation {
 public:
  // It has not begun yet.
  Operation(std::shared_ptr<Work> work, Request request, Place place, Means means);
  ~Operation();

  std::uint64_t number() const { return work_->operation(); }
  const Announcement& announcement() const { return mine_; }
  std::uint64_t elements_to_reduce() const;  // all_reduce; 0 for the others

  // Over this roster, from the beginning. It fails where that cannot be.
  void begin(SiteSet roster);
  // What is under way is forgotten, and nobody's memory is needed any more; what is done stays so.
  void stop();
  // REQUIRES, of both: it is stopped, and this site is the one that is meant.
  void serve(SiteSet roster, const Service& service);
  void await(SiteSet roster, const Service& service);
  // Others have, or get, all that there is to give; this site has no part in it.
  void stand_by(SiteSet roster, const Service& service);
  bool gets_data(int rank) const;                 // as its result, or a part of it
  bool fits(const Finished& what) const;          // as its result
  std::optional<Finished> finished_here() const;  // where it ended well

  // A peer has begun the same operation.
  void heard(int peer, Announcement theirs);
  bool has_heard(int peer) const { return heard_[static_cast<std::size_t>(peer)].has_value(); }
  bool begun_everywhere() const { return started_; }

  // Data, by the executor's rules (collective/executor.hpp). None for all_gather.
  std::optional<OutSlice> next(int peer, First first);
  bool has_next(int peer) const;
  void sent(const OutSlice& slice);
  Result<ByteSpan> place(int peer, SliceId id, std::uint64_t bytes);
  Status arrived(int peer, SliceId id);
  Status take(int peer, SliceId id, Buffer wire, std::uint64_t bytes);

  // Why no site can do what all ask for; empty: it can be done.
  const std::string& objection() const { return objection_; }

  // All is here, and the caller's memory is not needed any more except to take the result.
  bool ready() const;
  // Writes the result to the caller's memory and finishes the work.
  void complete();
  void fail(const Status& status);
  bool done() const { return done_; }
  bool failed() const { return failed_; }
  // REQUIRES: done().
  const Outcome& outcome() const { return work_->outcome(); }
  // Nothing is left to send either.
  bool finished() const;

  bool waits_for(int peer) const;
  // What of others it waits for, in words with the sites' names; "": nothing.
  std::string waiting(const std::vector<std::string>& sites) const;
  std::string title() const;  // "all_reduce #12"

 private:
  void build_executor();
  void build_executor(Schedule schedule, std::uint64_t bytes, ByteView input);
  ByteView kept_result();
  bool hand_over();
  void take_gathered(Outcome& outcome);
  Status impossible() const;
  std::uint64_t length() const;  // in bytes, where nobody computes with them
  int position(int rank) const { return roster_.place_of(rank); }
  void end_computing();
  Job job_of(Format format) const;
  Status no_data_here(int peer) const;
  void start_if_all_heard();

  std::shared_ptr<Work> work_;
  Request request_;
  Place place_;
  Means means_;
  Announcement mine_;
  std::vector<std::optional<Announcement>>
      heard_;  // by rank; this site's own is there from the start
  Buffers::Lease output_;
  Buffers::Lease terms_;
  Buffers::Lease padded_input_;  // broadcast, at the root; swap
  std::unique_ptr<Executor> executor_;
  std::string objection_;
  SiteSet roster_;                  // that it runs over
  std::optional<Service> service_;  // where its result comes from another site, or goes to some
  bool begun_ = false;
  bool started_ = false;
  bool done_ = false;
  bool failed_ = false;
};

}  // namespace isthmus
