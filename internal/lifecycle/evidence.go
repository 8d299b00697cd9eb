// SPDX-License-Identifier: Apache-2.0

package lifecycle

// Users of a namespace may have the right to delete records and Secrets. What the operator would conclude from a record must then
// not become more because the record is gone: the functions here are the only ones that choose the record to conclude from.

// newestLost reports whether the record of the newest known revision is gone. Other records, their annotations and status.current
// show its number.
func (p *planner) newestLost() bool {
	return len(p.live) == 0 || max(p.live[0].Number, p.live[0].nameNumber) < p.highest
}

// granted returns the record that shows what the key was granted last: the newest one. If that one is gone, it is the newest that
// verifies, since verifying records follow the key; a record that was revoked or has ended may show a grant that was taken back.
// It returns nil if no record shows it, and then nothing counts as granted.
func (p *planner) granted() *Revision {
	if !p.newestLost() {
		return p.live[0]
	}
	for _, record := range p.live {
		if record.verifies(p.now) {
			return record
		}
	}
	return nil
}
