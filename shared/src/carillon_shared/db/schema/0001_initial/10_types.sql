-- Closed lists. A test compares each with its Python enum.
CREATE SCHEMA IF NOT EXISTS carillon;

CREATE TYPE carillon.channel AS ENUM ('inapp', 'email', 'whatsapp');
CREATE TYPE carillon.lane AS ENUM ('critical', 'normal', 'bulk');
CREATE TYPE carillon.event_status AS ENUM (
    'pending_approval', 'scheduled', 'accepted', 'dispatching', 'dispatched', 'completed',
    'cancelled', 'rejected', 'expired');
CREATE TYPE carillon.delivery_status AS ENUM (
    'held', 'queued', 'sending', 'retrying', 'unknown', 'sent', 'delivered', 'read',
    'skipped', 'failed', 'dead', 'discarded', 'cancelled', 'expired');
CREATE TYPE carillon.hold_reason AS ENUM ('quiet_hours', 'digest', 'throttled', 'scheduled', 'condition');
CREATE TYPE carillon.reason AS ENUM (
    'actor', 'excluded', 'opted_out', 'channel_disabled', 'no_address', 'suppressed', 'muted', 'duplicate',
    'quiet_hours', 'throttled', 'frequency_cap', 'expired', 'cancelled', 'already_read', 'empty_digest', 'condition_not_met',
    'unknown_subscriber', 'invalid_address', 'provider_rejected', 'template_missing', 'template_error',
    'retries_exhausted', 'outcome_unknown', 'poison', 'discarded', 'retention');
CREATE TYPE carillon.membership_kind AS ENUM ('role', 'topic');
CREATE TYPE carillon.unknown_rule AS ENUM ('at_least_once', 'at_most_once');
-- Why a row stands in carillon.due.
CREATE TYPE carillon.due_kind AS ENUM ('hold', 'retry', 'unknown');
