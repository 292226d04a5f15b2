BEGIN TRANSACTION;
CREATE TABLE catalog_revisions (
	tenant TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	PRIMARY KEY (tenant)
);
INSERT INTO "catalog_revisions" VALUES('default',1);
CREATE TABLE events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	event TEXT NOT NULL, 
	value FLOAT, 
	timestamp INTEGER, 
	session_id TEXT, 
	recommendation_id TEXT, 
	position INTEGER, 
	UNIQUE (tenant, event_id)
);
INSERT INTO "events" VALUES(1,'default','e-1','ann','i-1','rating',4.5,1700000000000,'s',NULL,NULL);
INSERT INTO "events" VALUES(2,'default','e-2','张伟','商品','play',NULL,NULL,NULL,'r-1',2);
CREATE TABLE impressions (
	tenant TEXT NOT NULL, 
	recommendation_id TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	user_id TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	score FLOAT NOT NULL, 
	propensity FLOAT NOT NULL, 
	rung TEXT NOT NULL, 
	manifest_id TEXT NOT NULL, 
	timestamp INTEGER, 
	PRIMARY KEY (tenant, recommendation_id, position)
);
INSERT INTO "impressions" VALUES('default','r-1',2,'张伟','商品',0.5,1.0,'personal','m',1700000000000);
CREATE TABLE items (
	tenant TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	title TEXT, 
	description TEXT, 
	categories JSON NOT NULL, 
	price FLOAT, 
	image TEXT, 
	audio TEXT, 
	available_from INTEGER, 
	available BOOLEAN NOT NULL, 
	attributes JSON NOT NULL, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	removed BOOLEAN DEFAULT false NOT NULL, 
	PRIMARY KEY (tenant, item_id)
);
INSERT INTO "items" VALUES('default','i-1','One',NULL,'["a", "b"]',2.5,NULL,NULL,NULL,1,'{"brand": "x"}',1,0);
INSERT INTO "items" VALUES('default','商品',NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,'{}',1,0);
CREATE TABLE keys (
	tenant TEXT NOT NULL, 
	key_id TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	user_id TEXT, 
	note TEXT NOT NULL, 
	created INTEGER NOT NULL, 
	expires INTEGER, 
	revoked BOOLEAN NOT NULL, 
	parent TEXT, 
	PRIMARY KEY (tenant, key_id)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	applied INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1,1795753070099);
INSERT INTO "schema_version" VALUES(2,1795753070105);
INSERT INTO "schema_version" VALUES(3,1795753070106);
INSERT INTO "schema_version" VALUES(4,1795753070106);
INSERT INTO "schema_version" VALUES(5,1795753070107);
INSERT INTO "schema_version" VALUES(6,1795753070111);
INSERT INTO "schema_version" VALUES(7,1795842283933);
INSERT INTO "schema_version" VALUES(8,1795850230519);
CREATE TABLE tastes (
	tenant TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	text TEXT NOT NULL, 
	source TEXT NOT NULL, 
	basis TEXT NOT NULL, 
	PRIMARY KEY (tenant, user_id)
);
INSERT INTO "tastes" VALUES('default','ann','noir','edited','');
CREATE TABLE users (
	tenant TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	attributes JSON NOT NULL, 
	PRIMARY KEY (tenant, user_id)
);
INSERT INTO "users" VALUES('default','ann','{"city": "\u4e0a\u6d77"}');
CREATE INDEX items_by_revision ON items (tenant, revision);
CREATE INDEX impressions_by_user ON impressions (tenant, user_id);
CREATE INDEX keys_by_user ON keys (tenant, user_id);
CREATE INDEX keys_by_end ON keys (tenant, expires);
CREATE INDEX events_by_user ON events (tenant, user_id, timestamp, seq, item_id, event, value);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',2);
COMMIT;
