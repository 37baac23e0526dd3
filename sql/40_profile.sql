-- profile: what one user does and likes, as a value; the aggregate that makes it of events.

CREATE TYPE @extschema@.kpx_profile;

CREATE FUNCTION @extschema@.kpx_profile_in(cstring) RETURNS @extschema@.kpx_profile
AS 'MODULE_PATHNAME', 'kpx_profile_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_in(cstring) IS 'input of kpx_profile';
CREATE FUNCTION @extschema@.kpx_profile_out(@extschema@.kpx_profile) RETURNS cstring
AS 'MODULE_PATHNAME', 'kpx_profile_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_out(@extschema@.kpx_profile) IS 'output of kpx_profile: JSON';
CREATE FUNCTION @extschema@.kpx_profile_recv(internal) RETURNS @extschema@.kpx_profile
AS 'MODULE_PATHNAME', 'kpx_profile_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_recv(internal) IS 'binary input of kpx_profile';
CREATE FUNCTION @extschema@.kpx_profile_send(@extschema@.kpx_profile) RETURNS bytea
AS 'MODULE_PATHNAME', 'kpx_profile_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_send(@extschema@.kpx_profile) IS 'binary output of kpx_profile';

CREATE TYPE @extschema@.kpx_profile (
	INPUT = @extschema@.kpx_profile_in, OUTPUT = @extschema@.kpx_profile_out,
	RECEIVE = @extschema@.kpx_profile_recv, SEND = @extschema@.kpx_profile_send,
	STORAGE = extended);
COMMENT ON TYPE @extschema@.kpx_profile IS 'what one user does and likes: counts of events and weighted interests by module';

CREATE FUNCTION @extschema@.kpx_profile_to_jsonb(profile @extschema@.kpx_profile) RETURNS jsonb
AS 'MODULE_PATHNAME', 'kpx_profile_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_to_jsonb(@extschema@.kpx_profile) IS
'a profile as jsonb';

CREATE CAST (@extschema@.kpx_profile AS jsonb) WITH FUNCTION @extschema@.kpx_profile_to_jsonb(@extschema@.kpx_profile) AS ASSIGNMENT;

CREATE FUNCTION @extschema@.kpx_profile_eq(a @extschema@.kpx_profile, b @extschema@.kpx_profile) RETURNS boolean
AS 'MODULE_PATHNAME', 'kpx_profile_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_eq(@extschema@.kpx_profile, @extschema@.kpx_profile) IS
'whether two profiles are the same';

CREATE FUNCTION @extschema@.kpx_profile_ne(a @extschema@.kpx_profile, b @extschema@.kpx_profile) RETURNS boolean
AS 'MODULE_PATHNAME', 'kpx_profile_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_ne(@extschema@.kpx_profile, @extschema@.kpx_profile) IS
'whether two profiles differ';

CREATE FUNCTION @extschema@.kpx_profile_hash(profile @extschema@.kpx_profile) RETURNS integer
AS 'MODULE_PATHNAME', 'kpx_profile_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_hash(@extschema@.kpx_profile) IS
'hash of a profile, for hash joins and DISTINCT';

CREATE OPERATOR @extschema@.= (LEFTARG = @extschema@.kpx_profile, RIGHTARG = @extschema@.kpx_profile, FUNCTION = @extschema@.kpx_profile_eq,
	COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
CREATE OPERATOR @extschema@.<> (LEFTARG = @extschema@.kpx_profile, RIGHTARG = @extschema@.kpx_profile, FUNCTION = @extschema@.kpx_profile_ne,
	COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR CLASS @extschema@.kpx_profile_ops DEFAULT FOR TYPE @extschema@.kpx_profile USING hash AS
	OPERATOR 1 @extschema@.=, FUNCTION 1 @extschema@.kpx_profile_hash(@extschema@.kpx_profile);

CREATE FUNCTION @extschema@.kpx_profile_fuse(a @extschema@.kpx_profile, b @extschema@.kpx_profile) RETURNS @extschema@.kpx_profile
AS 'MODULE_PATHNAME', 'kpx_profile_fuse' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_fuse(@extschema@.kpx_profile, @extschema@.kpx_profile) IS
'both profiles as one: counts and weights added up';

CREATE FUNCTION @extschema@.kpx_similarity(a @extschema@.kpx_profile, b @extschema@.kpx_profile) RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_similarity' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_similarity(@extschema@.kpx_profile, @extschema@.kpx_profile) IS
'cosine of the interests of two profiles, 0 to 1';

CREATE FUNCTION @extschema@.kpx_profile_distance(a @extschema@.kpx_profile, b @extschema@.kpx_profile) RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_profile_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_distance(@extschema@.kpx_profile, @extschema@.kpx_profile) IS
'cosine distance of the interests of two profiles: 1 - kpx_similarity';

CREATE OPERATOR @extschema@.+ (LEFTARG = @extschema@.kpx_profile, RIGHTARG = @extschema@.kpx_profile, FUNCTION = @extschema@.kpx_profile_fuse,
	COMMUTATOR = OPERATOR(@extschema@.+));
CREATE OPERATOR @extschema@.<=> (LEFTARG = @extschema@.kpx_profile, RIGHTARG = @extschema@.kpx_profile, FUNCTION = @extschema@.kpx_profile_distance,
	COMMUTATOR = OPERATOR(@extschema@.<=>));

CREATE FUNCTION @extschema@.kpx_interests(profile @extschema@.kpx_profile, module text DEFAULT NULL, n integer DEFAULT NULL)
RETURNS TABLE (feature text, weight double precision)
AS 'MODULE_PATHNAME', 'kpx_interests' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 50;
COMMENT ON FUNCTION @extschema@.kpx_interests(@extschema@.kpx_profile, text, integer) IS
'the n strongest interests of a profile (default: all), of one module or of all together, strongest first';

CREATE FUNCTION @extschema@.kpx_behaviour(profile @extschema@.kpx_profile)
RETURNS TABLE (module text, kind text, events bigint, first_at timestamptz, last_at timestamptz, per_week double precision,
	value numeric, mean_value double precision, duration double precision, mean_duration double precision,
	items bigint, hours bigint[], weekdays bigint[])
AS 'MODULE_PATHNAME', 'kpx_behaviour' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_behaviour(@extschema@.kpx_profile) IS
'what a profile says of each module and kind of event; kind NULL: all of the module together';

-- The aggregate. module, kind, feature (or features), weight, value, occurred_at[, half_life[, duration]]
CREATE FUNCTION @extschema@.kpx_profile_agg_combine(internal, internal) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_combine(internal, internal) IS 'part of kpx_profile_agg';
CREATE FUNCTION @extschema@.kpx_profile_agg_serialize(internal) RETURNS bytea
AS 'MODULE_PATHNAME', 'kpx_profile_agg_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_serialize(internal) IS 'part of kpx_profile_agg';
CREATE FUNCTION @extschema@.kpx_profile_agg_deserialize(bytea, internal) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_deserialize(bytea, internal) IS 'part of kpx_profile_agg';
CREATE FUNCTION @extschema@.kpx_profile_agg_final(internal) RETURNS @extschema@.kpx_profile
AS 'MODULE_PATHNAME', 'kpx_profile_agg_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_final(internal) IS 'part of kpx_profile_agg';
CREATE FUNCTION @extschema@.kpx_profile_agg_fuse(internal, @extschema@.kpx_profile) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_fuse' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_fuse(internal, @extschema@.kpx_profile) IS 'part of kpx_profile_agg';

CREATE FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, feature text, weight double precision, value double precision, occurred_at timestamptz) (
	SFUNC = @extschema@.kpx_profile_agg_add, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text, double precision, double precision, timestamptz) IS
'a profile of events: counts, sums and times by module and kind, and a feature with decaying weight';

CREATE FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz, interval) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz, interval) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, feature text, weight double precision, value double precision, occurred_at timestamptz, half_life interval) (
	SFUNC = @extschema@.kpx_profile_agg_add, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text, double precision, double precision, timestamptz, interval) IS
'a profile of events: counts, sums and times by module and kind, and a feature with decaying weight';

CREATE FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz, interval, double precision) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add(internal, text, text, text, double precision, double precision, timestamptz, interval, double precision) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, feature text, weight double precision, value double precision, occurred_at timestamptz, half_life interval, duration double precision) (
	SFUNC = @extschema@.kpx_profile_agg_add, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text, double precision, double precision, timestamptz, interval, double precision) IS
'a profile of events: counts, sums and times by module and kind, and a feature with decaying weight';

CREATE FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add_many' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, features text[], weight double precision, value double precision, occurred_at timestamptz) (
	SFUNC = @extschema@.kpx_profile_agg_add_many, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text[], double precision, double precision, timestamptz) IS
'a profile of events: counts, sums and times by module and kind, and several features each with decaying weight';

CREATE FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz, interval) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add_many' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz, interval) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, features text[], weight double precision, value double precision, occurred_at timestamptz, half_life interval) (
	SFUNC = @extschema@.kpx_profile_agg_add_many, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text[], double precision, double precision, timestamptz, interval) IS
'a profile of events: counts, sums and times by module and kind, and several features each with decaying weight';

CREATE FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz, interval, double precision) RETURNS internal
AS 'MODULE_PATHNAME', 'kpx_profile_agg_add_many' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_profile_agg_add_many(internal, text, text, text[], double precision, double precision, timestamptz, interval, double precision) IS 'part of kpx_profile_agg';
CREATE AGGREGATE @extschema@.kpx_profile_agg(module text, kind text, features text[], weight double precision, value double precision, occurred_at timestamptz, half_life interval, duration double precision) (
	SFUNC = @extschema@.kpx_profile_agg_add_many, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(text, text, text[], double precision, double precision, timestamptz, interval, double precision) IS
'a profile of events: counts, sums and times by module and kind, and several features each with decaying weight';

CREATE AGGREGATE @extschema@.kpx_profile_agg(profile @extschema@.kpx_profile) (
	SFUNC = @extschema@.kpx_profile_agg_fuse, STYPE = internal, SSPACE = 2048,
	COMBINEFUNC = @extschema@.kpx_profile_agg_combine, SERIALFUNC = @extschema@.kpx_profile_agg_serialize,
	DESERIALFUNC = @extschema@.kpx_profile_agg_deserialize, FINALFUNC = @extschema@.kpx_profile_agg_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.kpx_profile_agg(@extschema@.kpx_profile) IS
'several profiles fused into one';

-- Profiles of users, live from the registered sources, as the caller.

CREATE FUNCTION @extschema@.kpx_profiles(modules text[] DEFAULT NULL, half_life interval DEFAULT '90 days')
RETURNS TABLE (user_id text, profile @extschema@.kpx_profile)
AS 'MODULE_PATHNAME', 'kpx_profiles' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10000;
COMMENT ON FUNCTION @extschema@.kpx_profiles(text[], interval) IS
'the profiles of all users with events in these modules (default: all the caller may read), in order of their ids';

CREATE FUNCTION @extschema@.kpx_profiles(user_type anyelement, modules text[] DEFAULT NULL, half_life interval DEFAULT '90 days')
RETURNS TABLE (user_id anyelement, profile @extschema@.kpx_profile)
AS 'MODULE_PATHNAME', 'kpx_profiles_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10000;
COMMENT ON FUNCTION @extschema@.kpx_profiles(anyelement, text[], interval) IS
'kpx_profiles with user ids in their own type, given by the witness user_type';

CREATE FUNCTION @extschema@.kpx_user_profile(user_id anyelement, modules text[] DEFAULT NULL, half_life interval DEFAULT '90 days')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'kpx_user_profile' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION @extschema@.kpx_user_profile(anyelement, text[], interval) IS
'what is known of a user over all modules: basic (attributes), behaviour, interests';

CREATE FUNCTION @extschema@.kpx_user_profile(user_id text, modules text[] DEFAULT NULL, half_life interval DEFAULT '90 days')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'kpx_user_profile_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION @extschema@.kpx_user_profile(text, text[], interval) IS
'kpx_user_profile for untyped literals';

CREATE FUNCTION @extschema@.kpx_similar_users(user_id anyelement, k integer DEFAULT 10, modules text[] DEFAULT NULL,
	half_life interval DEFAULT '90 days', model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, user_id anyelement, similarity double precision, interests double precision, factors double precision)
AS 'MODULE_PATHNAME', 'kpx_similar_users' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_similar_users(anyelement, integer, text[], interval, bigint) IS
'the k users most like a user, by the cosines of their interests and of their folded-in factors';

CREATE FUNCTION @extschema@.kpx_similar_users(user_id text, k integer DEFAULT 10, modules text[] DEFAULT NULL,
	half_life interval DEFAULT '90 days', model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, user_id text, similarity double precision, interests double precision, factors double precision)
AS 'MODULE_PATHNAME', 'kpx_similar_users_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_similar_users(text, integer, text[], interval, bigint) IS
'kpx_similar_users for untyped literals: ids are read and returned as text';
